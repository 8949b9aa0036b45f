"use strict";
(() => {
  const state = new URLSearchParams(location.hash.slice(1));
  const boards = [...document.querySelectorAll("table.board")];
  const query = document.getElementById("query");
  const tier = document.getElementById("tier");
  const level = document.getElementById("heat-level");
  const boxes = [...document.querySelectorAll(".chooser input")];

  const keep = () => history.replaceState(null, "", "#" + state.toString());
  const set = (name, value) => { if (value) state.set(name, value); else state.delete(name); keep(); };

  const order = (table, column, direction) => {
    const sign = direction === "descending" ? -1 : 1;
    const value = row => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
    const compare = (a, b) => {
      const last = a.classList.contains("partial") - b.classList.contains("partial");
      if (last) return last;
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const gap = Number(x) - Number(y);
      return sign * (Number.isNaN(gap) ? x.localeCompare(y) : gap);
    };
    const body = table.tBodies[0];
    [...body.rows].sort(compare).forEach(row => body.append(row));
    [...table.tHead.rows[0].cells].forEach((head, i) =>
      head.setAttribute("aria-sort", i === column ? direction : "none"));
  };

  const filter = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const table of boards) {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = (row.textContent + " " + row.dataset.words).toLowerCase();
        row.hidden = !(words.every(w => text.includes(w)) && (!tier.value || row.dataset.kind.split(" ").includes(tier.value)));
        shown += !row.hidden;
      }
      table.parentElement.nextElementSibling.textContent = shown + " of " + table.tBodies[0].rows.length + " entries shown";
    }
  };

  const choose = () => {
    const wanted = new Set(boxes.filter(box => box.checked).map(box => box.value));
    for (const table of boards)
      [...table.tHead.rows[0].cells].forEach((head, i) => {
        if (!head.dataset.optional) return;
        for (const row of table.rows) row.cells[i].hidden = !wanted.has(head.dataset.optional);
      });
  };

  const heat = () => {
    for (const row of document.querySelectorAll("tr[data-level]")) row.hidden = level.value !== "" && !row.dataset.level.split(" ").includes(level.value);
  };

  const tabs = [...document.querySelectorAll("[role=tab]")];
  const tracks = [...document.querySelectorAll(".track")];
  const open = id => {
    if (!tabs.length) return;
    for (const track of tracks) track.classList.toggle("closed", track.id !== id);
    for (const tab of tabs) {
      const on = tab.getAttribute("aria-controls") === id;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
    }
  };
  const show = id => {
    const place = document.getElementById(id);
    if (!place) return false;
    const track = place.closest(".track");
    if (track) open(track.id);
    place.scrollIntoView();
    return true;
  };

  for (const table of boards) {
    [...table.tHead.rows[0].cells].forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const first = head.dataset.first;
      const now = head.getAttribute("aria-sort");
      const direction = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
      order(table, column, direction);
      set(table.id, column + "." + direction);
    }));
    const [column, direction] = (state.get(table.id) || "").split(".");
    if (table.tHead.rows[0].cells[Number(column)] && ["ascending", "descending"].includes(direction)) order(table, Number(column), direction);
  }
  query.value = state.get("q") || "";
  for (const [box, name] of [[tier, "show"], [level, "heat"]]) if (state.has(name)) box.value = state.get(name);
  query.addEventListener("input", () => { set("q", query.value); filter(); });
  tier.addEventListener("change", () => { set("show", tier.value); filter(); });
  level.addEventListener("change", () => { set("heat", level.value); heat(); });
  const kept = (state.get("columns") || "").split("~");
  for (const box of boxes) {
    box.checked = kept.includes(box.value);
    box.addEventListener("change", () => {
      set("columns", boxes.filter(one => one.checked).map(one => one.value).join("~"));
      choose();
    });
  }
  for (const button of document.querySelectorAll(".toggles button")) button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    for (const curve of button.closest("section").querySelectorAll("g.series"))
      if (curve.dataset.series === button.dataset.series) curve.classList.toggle("off", !on);
  });
  tabs.forEach((tab, i) => {
    const choose = one => {
      open(one.getAttribute("aria-controls"));
      set("track", one === tabs[0] ? "" : one.getAttribute("aria-controls"));
    };
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(i + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });
  if (tabs.length) document.querySelector("main").classList.add("tabbed");
  open(tracks.some(track => track.id === state.get("track")) ? state.get("track") : tracks[0].id);
  addEventListener("hashchange", () => show(decodeURIComponent(location.hash.slice(1))));
  document.querySelectorAll(".needs-script").forEach(part => { part.hidden = false; });
  filter();
  choose();
  heat();
  show(state.has("at") ? state.get("at") : decodeURIComponent(location.hash.slice(1)));
})();
