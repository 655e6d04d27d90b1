"""The small changes: a comparison, an operator, a number, a condition, a result, a statement that is left out.

Operators after DeMillo, Lipton and Sayward, "Hints on test data selection", Computer 11 (1978) 34. Not changed:
texts, annotations, decorators, `raise` statements, and what only type checkers see.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants"]

Change = Callable[[ast.AST], ast.AST]

_COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_UNTOUCHED = (ast.Raise, ast.Import, ast.ImportFrom, ast.Assert, ast.JoinedStr)


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    line: int
    before: str
    after: str
    source: str
    """Of the whole changed module."""

    def __str__(self) -> str:
        return f"{self.line}: {self.before} → {self.after}"


def mutants(source: str) -> Iterator[Mutant]:
    r"""Yield a module's mutants, in the order of its lines.

    Parameters
    ----------
    source : str

    Examples
    --------
    >>> [str(mutant) for mutant in mutants("def f(x):\n    return x < 3")]
    ['2: return x < 3 → return None', '2: x < 3 → x <= 3', '2: 3 → 4']
    """
    tree = ast.parse(source)
    for number, node in enumerate(_nodes(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            target = next(found for i, found in enumerate(_nodes(changed)) if i == number)
            after = change(target)
            _Replace(target, after).visit(changed)
            ast.fix_missing_locations(changed)
            yield Mutant(
                getattr(node, "lineno", 0), _first_line(node), _first_line(after), ast.unparse(changed)
            )


def _first_line(node: ast.AST) -> str:
    lines = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()
    return lines[0] if lines else ""


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that may be changed, each before what it holds."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, _UNTOUCHED) or _is_private(child):
                continue
            yield child
            yield from _nodes(child)


def _is_private(node: ast.AST) -> bool:
    """Whether a statement is a text, ``__all__``, or for type checkers only."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
    ):
        return True
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")


def _changes(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield lambda n: _with(n, ops=[_COMPARISONS[type(n.ops[0])](), *n.ops[1:]])  # type: ignore[attr-defined]
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
        yield lambda n: _with(n, op=_OPERATORS[type(n.op)]())  # type: ignore[attr-defined]
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield lambda n: _with(n, op=other())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: n.operand  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        yield lambda n: ast.Constant(
            not value
            if isinstance(value, bool)
            else value + 1
            if isinstance(value, int)
            else 2.0 * value or 1.0
        )
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(
        node.test, (ast.Compare, ast.Constant, ast.UnaryOp, ast.BoolOp)
    ):
        yield lambda n: _with(n, test=ast.UnaryOp(ast.Not(), n.test))  # type: ignore[attr-defined]
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield lambda n: _with(n, value=ast.Constant(None))
    elif isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.YieldFrom, ast.Yield)):
        yield lambda n: ast.Pass()
    elif isinstance(node, (ast.Continue, ast.Break)):
        yield lambda n: ast.Break() if isinstance(n, ast.Continue) else ast.Continue()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """Put the new node in the place of the old one."""
        return self._new if node is self._old else super().generic_visit(node)
