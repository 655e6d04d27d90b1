// The runs of a catalog in Tiled's web page, by scan_id, sample and time; the search is for words in sample and plan.
"use strict";
(() => {
  const { createElement: h, useEffect, useState } = window.React;
  const PAGE = 25;
  const FIELDS = "{scan_id:start.scan_id,sample:start.sample,plan:start.plan_name,time:start.time,shape:start.grid.shape,"
    + "status:stop.exit_status,points:stop.num_events.primary}";
  const COLUMNS = ["scan_id", "sample", "time", "plan", "grid", "points", "ended", "uid"];
  const day = (s) => {
    if (!s) return "";
    const t = new Date(1000 * s), two = (n) => String(n).padStart(2, "0");
    return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
  };
  const cells = (id, m) => [m.scan_id ?? "", m.sample ?? "", day(m.time), m.plan ?? "", (m.shape || []).join(" × "), m.points ?? "",
    m.status ?? "not ended", id.slice(0, 8)];
  // a pattern of SQL's LIKE; its own signs are taken as they are typed, as far as one sign goes
  const pattern = (text) => JSON.stringify(`%${text.replace(/[%_]/g, "_")}%`);
  async function asked(segments, text, page) {
    const query = new URLSearchParams({ "page[offset]": page * PAGE, "page[limit]": PAGE, sort: "-start.time", fields: "metadata", select_metadata: FIELDS });
    query.append("fields", "count");
    if (text) { query.append("filter[like][condition][key]", "start.sample"); query.append("filter[like][condition][pattern]", pattern(text)); }
    const token = window.__TILED_ACCESS_TOKEN__;
    const answer = await fetch(`/api/v1/search/${segments.map(encodeURIComponent).join("/")}?${query}`,
      { headers: token ? { Authorization: `Bearer ${token}` } : {} });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    return answer.json();
  }
  function Runs({ segments }) {
    const [text, setText] = useState(""), [page, setPage] = useState(0), [found, setFound] = useState({ rows: [], count: 0 });
    useEffect(() => {
      let wanted = true;
      const timer = setTimeout(() => asked(segments || [], text, page).then(
        (body) => wanted && setFound({ rows: body.data, count: body.meta.count }),
        (error) => wanted && setFound({ rows: [], count: 0, problem: String(error.message || error) })), text ? 200 : 0);
      return () => { wanted = false; clearTimeout(timer); };
    }, [text, page, (segments || []).join("/")]);
    const last = Math.max(Math.ceil(found.count / PAGE) - 1, 0);
    const style = { padding: "5px 12px 5px 0", textAlign: "left", whiteSpace: "nowrap" };
    const link = (id) => `/ui/browse${(segments || []).map((s) => "/" + encodeURIComponent(s)).join("")}/${encodeURIComponent(id)}`;
    return h("section", { id: "slads-runs", style: { padding: "16px 24px", fontFamily: "Roboto, system-ui, sans-serif", fontSize: 14 } },
      h("h2", { style: { fontWeight: 500, margin: "0 0 8px" } }, `${found.count} run${found.count === 1 ? "" : "s"}`),
      h("input", { type: "search", "aria-label": "Sample", placeholder: "sample …", value: text, style: { font: "inherit", padding: "4px 8px" },
        onChange: (e) => { setPage(0); setText(e.target.value); } }),
      found.problem ? h("p", { role: "alert" }, found.problem) : null,
      h("div", { style: { overflowX: "auto" } }, h("table", { style: { borderCollapse: "collapse", marginTop: 10 } },
        h("thead", null, h("tr", null, COLUMNS.map((name) => h("th", { key: name, style: { ...style, borderBottom: "2px solid #888" } }, name)))),
        h("tbody", null, found.rows.map((run) => h("tr", { key: run.id, style: { borderBottom: "1px solid #8884" } },
          cells(run.id, run.attributes.metadata.selected || run.attributes.metadata).map((cell, i) => h("td", { key: i, style }, i === 1 || i === 7 ? h("a", { href: link(run.id) }, String(cell) || "–") : String(cell)))))))),
      h("p", null,
        h("button", { disabled: page === 0, onClick: () => setPage(page - 1) }, "newer"), ` ${page + 1} of ${last + 1} `,
        h("button", { disabled: page >= last, onClick: () => setPage(page + 1) }, "older")));
  }
  window.__TILED_SPEC_VIEWS__ = { ...(window.__TILED_SPEC_VIEWS__ || {}), CatalogOfBlueskyRuns: Runs };
})();
