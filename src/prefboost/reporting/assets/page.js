/* Draws the figures of a page, exports them, and filters its samples. It reads nothing from outside of the page. */
"use strict";
(() => {
  // Colours are variables of the page, so that figures follow light, dark and print without being drawn again.
  const ink = "var(--ink)", faint = "var(--faint)", grid = "var(--grid)";
  const narrow = matchMedia("(max-width: 40rem)").matches;
  const config = {
    background: null,
    font: "system-ui, sans-serif",
    axis: { labelColor: faint, titleColor: ink, gridColor: grid, domainColor: "var(--line)", tickColor: "var(--line)",
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, titlePadding: 8, labelLimit: narrow ? 130 : 200,
      labelSeparation: 8 },
    axisQuantitative: { tickCount: narrow ? 4 : 7 },
    legend: { orient: "top", direction: "horizontal", labelColor: ink, labelFontSize: 12, labelLimit: narrow ? 260 : 380,
      columnPadding: 12, symbolOpacity: 1, symbolType: "circle" },
    range: { category: [0, 1, 2, 3, 4, 5].map((n) => `var(--c${n})`) },
    view: { stroke: null },
  };

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  // Names come from data and models: they are set as text, never as markup.
  function showTip(handler, event, item, value) {
    if (value == null || value === "") { tip.hidden = true; return; }
    tip.replaceChildren(...Object.entries(value).map(([name, text]) => {
      const line = document.createElement("div"), key = document.createElement("span");
      key.textContent = `${name} `;
      line.append(key, String(text));
      return line;
    }));
    tip.hidden = false;
    const wide = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, wide - tip.offsetWidth - 6))}px`;
    tip.style.top = `${event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18}px`;
  }

  const drawn = [];
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = "12px system-ui, sans-serif";
  // Legends do not wrap on their own: as many columns as the longest name leaves room for.
  function countColumns(spec, place) {
    const names = [...new Set(spec.data.values.map((row) => String(row.series)))];
    const widest = Math.max(...names.map((name) => Math.min(pen.measureText(name).width, config.legend.labelLimit)));
    return Math.max(1, Math.min(names.length, Math.floor((place.clientWidth - 60) / (widest + 30))));
  }
  for (const place of document.querySelectorAll(".plot")) {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    const legend = { ...config.legend, columns: countColumns(spec, place) };
    const compiled = vegaLite.compile(spec, { config: { ...config, legend } }).spec;
    const view = new vega.View(vega.parse(compiled), { renderer: "svg", container: place, hover: true });
    view.tooltip(showTip);
    drawn.push(view.runAsync());
  }
  Promise.all(drawn).then(() => document.documentElement.classList.add("drawn"));

  const PAINT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity",
    "font-family", "font-size", "font-weight", "text-anchor"];
  // A saved figure has no style sheet: what the page's variables come to is written into it.
  function standAlone(svg) {
    const copy = svg.cloneNode(true), box = svg.getBoundingClientRect();
    const pairs = [[svg, copy], ...[...svg.querySelectorAll("*")].map((node, at) => [node, copy.querySelectorAll("*")[at]])];
    for (const [from, to] of pairs) {
      const style = getComputedStyle(from);
      for (const name of PAINT) to.setAttribute(name, style.getPropertyValue(name));
      to.removeAttribute("style");
    }
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", box.width);
    copy.setAttribute("height", box.height);
    if (!copy.getAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    paper.setAttribute("width", "100%");
    paper.setAttribute("height", "100%");
    paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
    copy.prepend(paper);
    return { text: new XMLSerializer().serializeToString(copy), wide: box.width, high: box.height };
  }
  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  async function toPng({ text, wide, high }) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * wide;
    canvas.height = 2 * high;
    const brush = canvas.getContext("2d");
    brush.scale(2, 2);
    brush.drawImage(image, 0, 0, wide, high);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
  for (const button of document.querySelectorAll("button[data-save]")) {
    button.addEventListener("click", async () => {
      const figure = button.closest("figure"), svg = standAlone(figure.querySelector("svg"));
      const name = `${figure.id}.${button.dataset.save}`;
      save(button.dataset.save === "svg" ? new Blob([svg.text], { type: "image/svg+xml" }) : await toPng(svg), name);
    });
  }

  // A page of a run at work is read again every few seconds: what a reader has set there is kept in the tab.
  const state = {
    read: (name) => { try { return JSON.parse(sessionStorage.getItem(name)) || {}; } catch { return {}; } },
    write: (name, value) => { try { sessionStorage.setItem(name, JSON.stringify(value)); } catch { /* not kept */ } },
  };
  const PAGE = 20;
  for (const [number, block] of [...document.querySelectorAll(".samples")].entries()) {
    const key = `prefboost ${location.pathname} samples ${number}`, earlier = state.read(key);
    const samples = [...block.querySelectorAll(".sample")], form = block.querySelector("form");
    const count = block.querySelector(".count"), more = block.querySelector(".more");
    let shown = earlier.shown || PAGE;
    for (const [name, value] of Object.entries(earlier.values || {})) {
      const field = form.elements.namedItem(name), before = field && field.value;
      if (field) field.value = value;
      // A group or goal that is gone from the page since: nothing would be selected.
      if (field && field.selectedIndex === -1) field.value = before;
    }
    function filter() {
      state.write(key, { shown, values: Object.fromEntries(new FormData(form)) });
      const { group, goal, least, most, text } = Object.fromEntries(new FormData(form));
      const low = least === "" ? -Infinity : Number(least), high = most === "" ? Infinity : Number(most);
      let matching = 0;
      for (const sample of samples) {
        let cells = 0;
        for (const cell of sample.querySelectorAll(".cell")) {
          const score = cell.dataset.score === undefined ? NaN : Number(cell.dataset.score);
          // A completion without a score is in no range, but it is shown where no range is asked for.
          const inside = least === "" && most === "" ? true : score >= low && score <= high;
          const asked = !goal || cell.dataset.goal === undefined || cell.dataset.goal === goal;
          // Both sides of a pair belong together: one in the range shows both. Completions are shown one by one.
          cell.hidden = !asked || (!sample.classList.contains("pair") && !inside);
          cells += asked && inside;
        }
        const fits = cells > 0 && (!group || sample.dataset.group === group) &&
          (!text || sample.textContent.toLowerCase().includes(text.toLowerCase()));
        matching += fits;
        sample.hidden = !fits || matching > shown;
      }
      count.textContent = `${matching} of ${samples.length} match; ${Math.min(matching, shown)} shown`;
      more.hidden = matching <= shown;
    }
    form.addEventListener("input", () => { shown = PAGE; filter(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => { shown += PAGE; filter(); });
    form.hidden = false;
    filter();
  }
})();
