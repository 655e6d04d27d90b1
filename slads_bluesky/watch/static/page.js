// What the page does besides Bokeh's figures: lists, numbers and forms from the server's JSON, and the user's wishes.
"use strict";
window.slads = (() => {
  const $ = (id) => document.getElementById(id);
  const state = {};
  let inbox = null, counter = 0, waiting = 0, formOf = "", lastBeat = 0, changed = 0;
  const memory = {
    read() { try { return JSON.parse(localStorage.getItem("slads_watch") || "{}"); } catch { return {}; } },
    write(more) { try { localStorage.setItem("slads_watch", JSON.stringify({ ...this.read(), ...more })); } catch { /* private */ } },
  };
  const place = () => new URLSearchParams(location.hash.slice(1));

  function el(tag, about = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(about)) {
      if (value === undefined || value === null || value === false) continue;
      if (key === "class") node.className = value;
      else if (key === "style") node.style.cssText = value;
      else if (key.startsWith("on")) node[key] = value;  // a property, so that `fill` can pass it on
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
    return node;
  }
  // What is shown is changed in place, several times a second: a button that is replaced between press and release of the
  // mouse swallows the click, and a text that is replaced loses its selection.
  const keyOf = (node) => (node.nodeType === 1 && node.dataset && node.dataset.uid) || "";
  function fill(box, ...children) {
    const fresh = children.filter((c) => c !== null && c !== undefined && c !== "").map((c) => typeof c === "string" ? document.createTextNode(c) : c);
    const keyed = new Map([...box.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
    fresh.forEach((node, i) => {
      const at = box.childNodes[i], own = keyOf(node) ? keyed.get(keyOf(node)) : at && !keyOf(at) ? at : null;
      if (!own) box.insertBefore(node, at || null);
      else if (own.nodeName !== node.nodeName) own.replaceWith(node);
      else {
        if (own !== at) box.insertBefore(own, at || null);
        become(own, node);
      }
    });
    while (box.childNodes.length > fresh.length) box.lastChild.remove();
  }
  function become(old, fresh) {
    if (old.nodeType !== 1) { if (old.data !== fresh.data) old.data = fresh.data; return; }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const handler of ["onclick", "onkeydown"]) old[handler] = fresh[handler];
    fill(old, ...fresh.childNodes);
  }
  function send(message) {
    if (inbox) inbox.value = JSON.stringify({ ...message, id: ++counter });
  }
  function remember(changes) {
    const now = place();
    for (const [key, value] of Object.entries(changes)) value ? now.set(key, value) : now.delete(key);
    history.replaceState(null, "", location.pathname + (now.toString() ? "#" + now : ""));
  }
  const number = (x, digits = 3) => x === null || x === undefined ? "–" : Number(x.toPrecision(digits)).toString();
  function duration(s) {
    if (s === null || s === undefined) return "–";
    if (s < 90) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
    const whole = Math.round(s), minutes = Math.round(s / 60);  // rounded first: there is no "1 min 60 s"
    if (s < 5400) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }
  const percent = (x) => x >= 0.0995 ? `${(100 * x).toFixed(0)} %` : x > 0 ? `${(100 * x).toPrecision(2)} %` : "0";

  function strip() {
    const run = state.run, other = state.other, box = $("strip");
    if (!run) { fill(box, el("div", { class: "empty" }, "No map is on record yet. It appears here when a run begins.")); return; }
    const fact = (name, value, unit, more) => el("div", {}, el("dt", {}, name), el("dd", {}, value, unit ? el("small", {}, " " + unit) : ""), more ? el("div", { class: "other" }, more) : "");
    const vs = (f) => other ? f(other) : "";
    const dist = (r) => r.distortion === null ? "–" : percent(r.distortion);
    const between = (r) => r.interval ? `${percent(r.interval[0])} … ${percent(r.interval[1])}` : "";
    fill(box,
      el("div", {}, el("dt", {}, `${run.plan} · ${run.scan_id ?? run.uid.slice(0, 8)} · ${run.when}`),
        el("dd", { id: "sample" }, run.sample || "map", " ", el("span", { class: `pill ${run.status}`, id: "status", title: run.reason }, run.status)),
        el("div", { class: "progress", title: "Part of the wanted pixels" }, el("i", { style: `width:${100 * (run.done ?? run.percent / 100)}%` })),
        other ? el("div", { class: "other" }, `compared with ${other.sample || "map"} · ${other.scan_id ?? other.uid.slice(0, 8)}`) : ""),
      fact("measured", String(run.n), `of ${run.wanted ?? "–"} · ${run.percent.toFixed(1)} %`, vs((o) => `${o.n} · ${o.percent.toFixed(1)} %`)),
      fact("grid", run.grid, run.step, vs((o) => o.grid)),
      fact("distortion", dist(run), between(run), vs((o) => `${dist(o)} ${between(o)}`)),
      fact(run.left_s !== null ? `left, after ${duration(run.seconds)}` : "time", run.left_s !== null ? duration(run.left_s) : duration(run.seconds), "", vs((o) => duration(o.seconds))),
      fact("rate", number(run.rate), "points/s", vs((o) => number(o.rate))),
      fact("dose", number(run.dose_nc, 4), "nC", vs((o) => `${number(o.dose_nc, 4)} nC`)));
    document.title = `${run.percent.toFixed(1)} % · ${run.sample || "map"} · slads-bluesky watch`;
  }

  function facts() {
    const run = state.run, box = $("facts");
    if (!run) { fill(box); return; }
    const parts = [];
    if (run.problem) parts.push(el("p", { class: "warning" }, run.problem));
    for (const text of run.warnings) parts.push(el("p", { class: "warning" }, text));
    if (state.other) for (const text of state.other.warnings) parts.push(el("p", { class: "warning" }, `${state.other.sample || "compared run"}: ${text}`));
    parts.push(el("h2", {}, run.finds_phases ? "Phases found" : "Phases"));
    const rows = el("div", { class: "rows", id: "phases" });
    for (const phase of run.phases)
      rows.append(el("span", {}, el("i", { class: "sw", style: `background:${phase.colour}` }), phase.name, phase.from ? el("small", {}, ` from ${phase.from}`) : "",
        run.finds_phases && run.status === "measuring" && $("phase") ? el("button", { type: "button", class: "tiny", "aria-label": `Change ${phase.name}`, onclick: () => change(phase) }, "…") : ""),
        el("div", { class: "meter" }, el("i", { style: `width:${100 * (phase.area ?? 0)}%;background:${phase.colour}` })),
        el("span", { title: `${phase.points} points` }, phase.area === null ? "–" : percent(phase.area)));
    parts.push(rows, el("h2", {}, "Verdicts"));
    const verdicts = el("div", { class: "rows", id: "verdicts" });
    for (const verdict of run.verdicts)
      verdicts.append(el("span", {}, verdict.text), el("div", { class: `meter ${verdict.name === "ok" ? "ok" : "bad"}` }, el("i", { style: `width:${100 * verdict.share}%` })),
        el("span", {}, String(verdict.n)));
    parts.push(verdicts);
    if (run.actions.length) {
      parts.push(el("h2", {}, "Operator"));
      parts.push(el("ol", { class: "log", id: "actions" }, ...run.actions.slice().reverse().map((a) => el("li", {}, `${a.clock} ${a.who}: ${a.action} ${a.detail}`))));
    }
    fill(box, ...parts);
    const asked = run.phases.find((phase) => phase.label === changed);
    if (asked && $("phase") && $("phase").open) $("phase_about").textContent = asked.about || "";
  }

  function change(phase) {
    changed = phase.label;
    $("phase_title").textContent = `phase ${phase.label}: ${phase.name}`;
    $("phase_about").textContent = phase.about || "";
    $("phase_name").value = $("phase_other").value = "";
    $("phase").showModal();
  }

  function runs() {
    const chosen = state.run && state.run.uid, other = state.other && state.other.uid;
    const list = state.runs || [];
    const rows = list.map((run) => el("li", {
      class: run.map ? "" : "nomap", tabindex: run.map ? "0" : null, "data-uid": run.uid, "aria-current": run.uid === chosen ? "true" : null,
      "data-other": run.uid === other ? "true" : null, title: run.uid,
      onclick: () => run.map && select(run.uid), onkeydown: (e) => { if (run.map && e.key === "Enter") select(run.uid); },
    }, el("b", {}, run.sample || run.plan), el("span", { class: `pill ${run.ending}` }, run.ending),
      el("small", {}, `${run.scan_id ?? ""} · ${run.day} ${run.clock} · ${run.map ? run.shape : run.plan}${run.points === null ? "" : " · " + run.points}`),
      run.map && run.uid !== chosen ? el("button", { type: "button", title: run.uid === other ? "Compare no more" : "Show beside the other map", "data-compare": run.uid,
        onclick: (e) => { e.stopPropagation(); compare(run.uid === other ? "" : run.uid); } }, run.uid === other ? "×" : "⇆") : ""));
    const active = document.activeElement && document.activeElement.closest ? document.activeElement.closest("li[data-uid]") : null;
    const focused = active && active.dataset.uid, top = $("runs").scrollTop;
    fill($("runs"), ...(rows.length ? rows : [el("li", { class: "none" }, "no runs")]));
    $("runs").scrollTop = top;
    if (focused) { const again = $("runs").querySelector(`li[data-uid="${focused}"]`); if (again) again.focus({ preventScroll: true }); }
  }
  function select(uid) { remember({ run: uid }); send({ do: "select", uid }); }
  function compare(uid) { remember({ other: uid }); send({ do: "compare", uid }); }

  function legend(side) {
    const about = state[side];
    if (!about) return;
    $(`${side}_title`).textContent = about.title;
    $(`${side}_title`).style.color = side === "right" && state.other ? "var(--b)" : "";
    for (const button of document.querySelectorAll(`button[data-side=${side}]`)) button.setAttribute("aria-checked", String(button.dataset.layer === about.layer));
    const box = $(`${side}_legend`);
    if (about.kind === "phases") fill(box, ...about.items.map((item) => el("span", { class: "key" }, el("i", { style: `background:${item.colour}` }), item.name)));
    else if (about.kind === "scale") fill(box, el("span", {}, about.label), el("span", {}, about.low), el("span", { class: "scale", style: `background:linear-gradient(90deg,${about.colours.join(",")})` }), el("span", {}, about.high));
    else fill(box, about.note || "");
    const choices = about.choices || [], others = $(`${side}_choices`);
    others.hidden = !choices.length;
    fill(others, ...choices.map((name) => el("button", { type: "button", role: "radio", "data-element": name, "aria-checked": String(name === about.chosen),
      onclick: () => send({ do: "element", side, element: name }) }, name)));
  }

  function before() {
    const at = state.before, box = $("before");
    if (!box) return;
    box.hidden = !at;
    if (!at) { fill(box); return; }
    const head = el("h2", {}, at.title, el("button", { type: "button", "aria-label": "Put away", onclick: () => send({ do: "put_away" }) }, "×"));
    if (at.kind === "instrument") {
      fill(box, head, el("ol", { class: "checks" }, ...at.checks.slice().sort((a, b) => a.passed - b.passed).map((c) => el("li", { class: c.passed ? "ok" : "bad" },
        el("b", {}, c.passed ? "ok " : "not ok "), `${c.name}: ${c.message}`, c.hint ? el("small", {}, c.hint) : ""))));
      return;
    }
    const [rows, columns] = at.grid.shape, svg = (tag, about) => { const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(about)) node.setAttribute(key, value); return node; };
    const picture = svg("svg", { viewBox: `0 0 ${columns} ${rows}`, class: "mask", role: "img", "aria-label": `${at.n_first} pixels of the initial mask` });
    if (at.image_png) picture.append(svg("image", { href: "data:image/png;base64," + at.image_png, width: columns, height: rows, preserveAspectRatio: "none" }));
    const size = Math.max(1, columns / 90);
    for (const p of at.first_pixels) picture.append(svg("rect", { x: (p % columns) + 0.5 - size / 2, y: Math.floor(p / columns) + 0.5 - size / 2, width: size, height: size }));
    fill(box, head, picture, el("pre", {}, at.lines.concat(`first      ${at.n_first} pixels of the initial mask`).join("\n")));
  }

  function pixel() {
    const at = state.pixel;
    $("unpin").hidden = !(at && at.pinned);
    if (!at) { fill($("pixel")); fill($("pixel_facts")); return; }
    fill($("pixel"), at.newest ? el("span", {}, "newest point") : at.pinned ? el("span", {}, "pinned") : "",
      el("span", {}, `${at.place} · ${at.pixel}`));
    fill($("pixel_facts"), at.phase ? el("span", { class: "key" }, el("i", { style: `background:${at.colour}` }), el("b", {}, at.phase)) : "", at.facts.join(" · "));
  }

  function queue() {
    const q = state.queue;
    if (!q || !$("queue")) return;
    const shown = !q.reachable ? "not reachable" : q.engine === "paused" ? "paused" : q.environment ? q.manager : "environment closed";
    $("q_state").textContent = shown;
    $("q_state").className = `pill ${!q.reachable ? "bad" : shown === "paused" ? "paused" : q.engine === "running" ? "measuring" : ""}`;
    $("q_state").title = q.problem || "";
    const can = {
      open: q.reachable && !q.environment && q.manager === "idle", start: q.environment && q.manager === "idle" && (q.items || []).length > 0,
      pause: q.engine === "running", resume: q.manager === "paused", stop: q.engine === "running" || q.manager === "paused", abort: q.engine === "running" || q.manager === "paused",
    };
    for (const button of document.querySelectorAll("button[data-act]")) button.disabled = !can[button.dataset.act];
    $("doctor").disabled = !q.environment;
    const rows = [];
    if (q.running) rows.push(el("li", {}, el("span", { title: q.running.about }, `▶ ${q.running.sample || q.running.plan}`)));
    for (const item of q.items || []) rows.push(el("li", {}, el("span", { title: `${item.plan} ${item.about} (${item.user})` }, `${item.sample || item.plan}`),
      el("button", { type: "button", "aria-label": `Remove ${item.sample}`, onclick: () => send({ do: "remove", uid: item.uid, who: who() }) }, "×")));
    fill($("q_items"), ...rows);
    form(q.form || []);
  }
  const who = () => ($("who") ? $("who").value : "");
  const words = (name) => name.replace(/_um$/, ", µm").replace(/_s$/, ", s").replace(/_nc$/, ", nC").replaceAll("_", " ");
  const MAIN = ["sample", "fraction", "rows", "columns", "step_um", "dwell_s", "centre_x_um", "centre_y_um", "error", "budget_nc"];
  function form(fields) {
    const key = JSON.stringify(fields);
    if (!fields.length || key === formOf) return;
    formOf = key;
    const typed = Object.fromEntries([...document.querySelectorAll("#form input")].map((i) => [i.name, i.value]));
    const input = (f) => el("label", { class: f.name === "sample" || f.name === "notes" ? "two" : "", title: f.about + (f.min || f.max ? ` (${f.min} … ${f.max})` : "") }, words(f.name),
      el("input", { name: f.name, placeholder: f.default, value: typed[f.name] || "", inputmode: f.number ? "decimal" : "text", autocomplete: "off" }));
    const first = fields.filter((f) => MAIN.includes(f.name)).sort((a, b) => MAIN.indexOf(a.name) - MAIN.indexOf(b.name));
    const rest = fields.filter((f) => !MAIN.includes(f.name));
    const more = el("details", { style: "grid-column:1/3" }, el("summary", {}, "more"), el("div", { style: "display:grid;grid-template-columns:1fr 1fr;gap:5px 8px" }, ...rest.map(input)));
    $("form").replaceChildren(...first.map(input), more,
      el("div", { class: "go" }, el("button", { type: "button", id: "check", onclick: () => send({ do: "check", values: values() }) }, "Check"),
        el("button", { type: "submit", id: "add" }, "Add to queue")));
  }
  const values = () => Object.fromEntries([...document.querySelectorAll("#form input")].map((i) => [i.name, i.value]));

  const draw = { run: [strip, facts, runs], other: [strip, facts, runs], runs: [runs], left: [() => legend("left")], right: [() => legend("right")], pixel: [pixel], queue: [queue], before: [before],
    notice: [() => { $("notice").textContent = state.notice.text; $("notice").className = state.notice.bad ? "bad" : ""; }],
    view: [() => { $("newest").setAttribute("aria-pressed", String(state.view.newest)); if (state.view.newest) remember({ run: "" });
      for (const b of document.querySelectorAll("button[data-axis]")) b.setAttribute("aria-checked", String(b.dataset.axis === state.view.axis)); $("key_other").hidden = !state.other; }],
    beat: [] };
  function receive(text) {
    lastBeat = Date.now();
    const changes = JSON.parse(text), todo = new Set();
    for (const [name, value] of Object.entries(changes)) { state[name] = value; for (const f of draw[name] || []) todo.add(f); }
    if ("other" in changes) { todo.add(draw.right[0]); $("key_other").hidden = !state.other; }
    for (const f of todo) pressed ? later.add(f) : f();
    $("lost").hidden = true;
  }
  // Nothing is drawn between press and release: a line that appears above a button would move it away from the mouse.
  let pressed = false;
  const later = new Set();
  function press(e) { pressed = e.button === 0 && !!e.target.closest("button, li, summary"); }
  function release() {  // after the click, which follows in the same task
    setTimeout(() => { pressed = false; for (const f of later) f(); later.clear(); }, 0);
  }
  function dark(on) { document.documentElement.dataset.theme = on ? "dark" : "light"; }
  const wantsDark = () => memory.read().dark ?? matchMedia("(prefers-color-scheme: dark)").matches;
  function connect(box) {
    inbox = box;
    const kept = memory.read(), now = place();
    send({ do: "hello", dark: wantsDark(), left: kept.left, right: kept.right, axis: kept.axis, run: now.get("run"), other: now.get("other") });
    if ($("who") && kept.who) $("who").value = kept.who;
    document.body.dataset.ready = "yes";
  }
  async function lost() {
    if (waiting) return;
    waiting = 1;
    $("lost").hidden = false;
    for (;;) {
      await new Promise((r) => setTimeout(r, 1000));
      try { if ((await fetch("/alive", { cache: "no-store" })).ok) break; } catch { /* not yet */ }
    }
    location.reload();
  }

  dark(wantsDark());
  document.addEventListener("DOMContentLoaded", () => {
    history.replaceState(null, "", location.pathname + location.hash);  // the token is no longer in the address
    $("theme").onclick = () => { const on = document.documentElement.dataset.theme !== "dark"; dark(on); memory.write({ dark: on }); send({ do: "theme", dark: on }); };
    $("newest").onclick = () => { remember({ run: "" }); send({ do: "newest" }); };
    $("unpin").onclick = () => send({ do: "unpin" });
    document.addEventListener("keydown", (e) => { if (e.key === "Escape") send({ do: "unpin" }); });
    document.addEventListener("pointerdown", press, true);
    for (const name of ["pointerup", "pointercancel", "dragend"]) document.addEventListener(name, release, true);
    document.addEventListener("pointermove", (e) => { if (pressed && !e.buttons) release(); }, true);  // released elsewhere
    window.addEventListener("blur", release);
    for (const b of document.querySelectorAll("button[data-layer]")) b.onclick = () => { memory.write({ [b.dataset.side]: b.dataset.layer }); send({ do: "layer", side: b.dataset.side, layer: b.dataset.layer }); };
    for (const b of document.querySelectorAll("button[data-axis]")) b.onclick = () => { memory.write({ axis: b.dataset.axis }); send({ do: "axis", axis: b.dataset.axis }); };
    let timer = 0;
    for (const id of ["find", "since", "until"]) $(id).oninput = () => { clearTimeout(timer); timer = setTimeout(() => send({ do: "search", text: $("find").value, since: $("since").value, until: $("until").value }), 200); };
    for (const b of document.querySelectorAll("button[data-act]")) b.onclick = () => send({ do: "act", action: b.dataset.act, who: who() });
    for (const b of document.querySelectorAll("button[data-phase-act]")) b.onclick = () => {
      const action = b.dataset.phaseAct;
      if (action) send({ do: "phase", action, label: changed, name: $("phase_name").value, other: parseInt($("phase_other").value) || 0, who: who() });
      $("phase").close();
    };
    if ($("doctor")) $("doctor").onclick = () => send({ do: "doctor" });
    if ($("who")) $("who").onchange = () => memory.write({ who: $("who").value });
    if ($("form")) $("form").onsubmit = (e) => { e.preventDefault(); send({ do: "add", values: values(), who: who() }); };
    setInterval(() => { if (lastBeat && Date.now() - lastBeat > 15000) lost(); }, 2000);
  });
  return { connect, receive, lost, state };
})();
