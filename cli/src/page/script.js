"use strict";
// Draws the build that stands as JSON in this page. Whatever the build says becomes text nodes, never
// markup. Times are milliseconds from the build's start.
(() => {
  const build = JSON.parse(document.getElementById("build").textContent);
  const critical = new Set(build.critical);
  const steps = new Map(build.steps.map((step) => [step.id, step]));
  const whole = { from: 0, to: Math.max(build.duration, ...build.steps.map((step) => step.end), 0.001) };
  let view = whole;

  // --- Elements and words -----------------------------------------------------------------------

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function drawing(tag, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function duration(ms) {
    if (ms < 0.0005) return "0";
    if (ms < 1) return `${Math.round(ms * 1000)} µs`;
    if (ms < 100) return `${ms.toFixed(1)} ms`;
    if (ms < 999.5) return `${Math.round(ms)} ms`;
    if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9_995 ? 2 : 1)} s`;
    const seconds = Math.round(ms / 1000);
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  }

  function size(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 999.5 && unit + 1 < units.length) {
      bytes /= 1000;
      unit += 1;
    }
    const digits = unit === 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    return `${bytes.toFixed(digits)} ${units[unit]}`;
  }

  const kinds = {
    ran: "Ran",
    hit: "From the cache",
    work: "Other work",
    failed: "Failed",
    canceled: "Canceled or cut off",
  };

  function kind(step) {
    if (step.result === "failed") return "failed";
    if (step.result === "canceled" || step.result === "open") return "canceled";
    if (step.result === "cached") return "hit";
    return step.cacheable ? "ran" : "work";
  }

  function result(step) {
    switch (step.result) {
      case "cached": return "from the cache";
      case "open": return build.status === "Running" ? "at work" : "cut off";
      case "done": return step.cacheable ? "ran" : "done";
      default: return step.result;
    }
  }

  /// The name without the brackets that say the stage, under whose heading it stands.
  const inStage = (step) => step.name.replace(/^\[[^\]]*\]\s*/, "") || step.name;
  const took = (step) => (step.begin === null ? 0 : Math.max(0, step.end - step.begin));
  const begin = (step) => step.begin ?? step.end;

  // --- Head and totals --------------------------------------------------------------------------

  function head() {
    document.title = `${build.name} · Kiln build`;
    const started = new Date(build.started);
    const when = element("time", { datetime: build.started, class: "soft" },
      Number.isNaN(started.getTime()) ? build.started : started.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }));
    const header = document.getElementById("header");
    header.append(
      element("div", { class: "title" },
        element("h1", null, build.name),
        element("span", { class: `badge ${build.status}` }, build.status),
        when,
        element("code", { class: "soft" }, build.id)),
      element("code", { class: "command", title: `in ${build.directory}` }, `kiln ${build.arguments.join(" ")}`));
    if (build.error) header.append(element("p", { class: "error mono" }, build.error));
    header.append(totals());
  }

  function totals() {
    const list = element("dl", { class: "totals" });
    const add = (name, value, note) => list.append(element("div", null,
      element("dt", null, name),
      element("dd", null, value, note ? element("small", null, note) : null)));
    const busy = build.steps.reduce((sum, step) => sum + took(step), 0);
    const onPath = build.critical.reduce((sum, id) => sum + (steps.has(id) ? took(steps.get(id)) : 0), 0);
    const asked = build.hits + build.misses;
    add("Duration", duration(build.duration));
    add("From the cache", `${build.hits} of ${asked}`, asked ? `${Math.round((100 * build.hits) / asked)} % of the instructions` : "no instructions");
    add("Ran", `${build.misses}`, build.misses === 1 ? "instruction" : "instructions");
    add("Critical path", duration(onPath), `${build.critical.length} steps, ${Math.round((100 * onPath) / whole.to)} % of the time`);
    add("Side by side", (busy / whole.to).toFixed(2), "steps at work on average");
    if (build.size !== null) add("Image", size(build.size), build.image ? build.image.slice(0, 19) : "");
    if (build.moved > 0) add("Moved", size(build.moved), "context and layers");
    return list;
  }

  // --- Parallelism ------------------------------------------------------------------------------

  function levels() {
    const changes = [];
    for (const step of build.steps) {
      if (step.begin === null) continue;
      changes.push([step.begin, 1], [step.end, -1]);
    }
    changes.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const points = [[0, 0]];
    let count = 0;
    for (const [at, change] of changes) {
      count += change;
      if (points[points.length - 1][0] === at) points[points.length - 1][1] = count;
      else points.push([at, count]);
    }
    points.push([whole.to, 0]);
    return points;
  }

  const points = levels();
  const most = points.reduce((most, point) => Math.max(most, point[1]), 1);
  const edge = drawing("path", { class: "edge" });
  const area = drawing("path", { class: "area" });

  function drawLevels() {
    const x = (at) => (1000 * (at - view.from)) / (view.to - view.from);
    const y = (count) => 100 - (94 * count) / most;
    let line = "";
    let level = 0;
    for (const [at, count] of points) {
      // What lies outside of the view is drawn at its edges.
      const place = Math.min(1010, Math.max(-10, x(at))).toFixed(2);
      line += line === "" ? `M${place} ${y(count)}` : `L${place} ${y(level).toFixed(2)}L${place} ${y(count).toFixed(2)}`;
      level = count;
    }
    edge.setAttribute("d", line);
    area.setAttribute("d", `${line}L1010 100L-10 100Z`);
  }

  function parallelism() {
    const svg = drawing("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(area, edge);
    const chart = element("div", { class: "chart" }, svg,
      element("span", { class: "most" }, `${most} at once`));
    const strip = element("div", { class: "strip", title: "The critical path" });
    for (const id of build.critical) {
      const step = steps.get(id);
      if (!step) continue;
      const piece = element("i", { title: step.name });
      piece.style.setProperty("--s", begin(step));
      piece.style.setProperty("--e", step.end);
      strip.append(piece);
    }
    brush(chart);
    return element("section", { class: "panel", "aria-label": "Parallelism over time" },
      element("div", { class: "head" },
        element("h2", null, "Parallelism over time"),
        element("span", { class: "soft" }, "drag to look closer · the stripe below is the critical path")),
      chart, strip);
  }

  function brush(chart) {
    let start = null;
    let shade = null;
    const at = (event) => {
      const box = chart.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return { share, time: view.from + share * (view.to - view.from) };
    };
    chart.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = at(event);
      shade = element("div", { class: "brush" });
      chart.append(shade);
      chart.setPointerCapture(event.pointerId);
    });
    chart.addEventListener("pointermove", (event) => {
      if (!start) return;
      const now = at(event);
      shade.style.left = `${100 * Math.min(start.share, now.share)}%`;
      shade.style.width = `${100 * Math.abs(start.share - now.share)}%`;
    });
    const end = (event) => {
      if (!start) return;
      const now = at(event);
      if (Math.abs(now.share - start.share) > 0.01 && event.type === "pointerup") {
        look(Math.min(start.time, now.time), Math.max(start.time, now.time));
      }
      shade.remove();
      start = null;
    };
    chart.addEventListener("pointerup", end);
    chart.addEventListener("pointercancel", end);
  }

  // --- The part of the time that is looked at ------------------------------------------------------

  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  const reset = element("button", { type: "button", hidden: true }, "Whole build");

  function look(from, to) {
    const least = whole.to / 1e6;
    view = { from: Math.max(0, from), to: Math.max(Math.max(0, from) + least, Math.min(whole.to, to)) };
    const root = document.documentElement.style;
    root.setProperty("--t0", view.from);
    root.setProperty("--k", `${100 / (view.to - view.from)}%`);
    reset.hidden = view.from === 0 && view.to === whole.to;
    drawTicks();
    drawLevels();
  }

  function drawTicks() {
    const span = view.to - view.from;
    const wide = ticks.clientWidth || 600;
    const wanted = span / Math.max(2, Math.floor(wide / 90));
    const power = 10 ** Math.floor(Math.log10(wanted));
    const every = [1, 2, 5, 10].map((factor) => factor * power).find((every) => every >= wanted);
    const marks = [];
    // A mark needs room for its words.
    const last = view.to - (span * 48) / wide;
    for (let index = Math.ceil(view.from / every); index * every < last && marks.length < 50; index += 1) {
      const mark = element("span", null, duration(index * every));
      mark.style.left = `${(100 * (index * every - view.from)) / span}%`;
      marks.push(mark);
    }
    ticks.replaceChildren(...marks);
  }

  // --- Steps ------------------------------------------------------------------------------------

  const rows = [];

  function row(step) {
    const tone = kind(step);
    const isCritical = critical.has(step.id);
    const bar = element("span", { class: `bar ${tone}${isCritical ? " critical" : ""}` });
    bar.style.setProperty("--s", begin(step));
    bar.style.setProperty("--e", step.end);
    const said = `${result(step)}${isCritical ? ", on the critical path" : ""}`;
    const summary = element("summary", { tabindex: rows.length === 0 ? 0 : -1, title: step.why ?? null },
      element("span", { class: "name" },
        element("b", null, `#${step.number}`),
        isCritical ? element("span", { class: "mark", "aria-hidden": "true" }, "◆") : null,
        element("span", { class: "text" }, inStage(step))),
      element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("span", { class: `took ${tone}` },
        tone === "hit" ? "cached" : duration(took(step)),
        element("span", { class: "hidden" }, `, ${said}`)),
      // Of what was in the cache, and of what is new, that is all that most people want to know.
      step.why && tone !== "hit" && !step.is_new ? element("span", { class: "why" }, step.why) : null);
    const details = element("details", null, summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(facts(step));
    });
    const item = element("li", { class: "step", id: `step-${step.number}`, "data-result": tone }, details);
    rows.push({ step, tone, isCritical, item, details, summary, words: step.name.toLowerCase() });
    return item;
  }

  function facts(step) {
    const list = element("dl");
    const add = (name, ...value) => list.append(element("dt", null, name), element("dd", null, ...value));
    add("Step", step.name);
    add("Result", `${result(step)}${critical.has(step.id) ? ", on the critical path" : ""}`);
    if (step.error) add("Error", step.error);
    if (step.why) add("Why", step.why);
    if (step.begin !== null) add("Time", `${duration(took(step))}, from ${duration(step.begin)} to ${duration(step.end)}`);
    if (step.exit) add("Command", step.exit);
    if (step.processor !== null) add("Processor time", duration(step.processor));
    if (step.memory !== null) add("Peak memory", `${size(step.memory)} in the largest process`);
    for (const moved of step.moved) add("Moved", `${moved.Item}: ${size(moved.Bytes)}`);
    if (step.inputs.length) add("Needs", ...links(step.inputs));
    const needing = build.steps.filter((other) => other.inputs.includes(step.id)).map((other) => other.id);
    if (needing.length) add("Needed by", ...links(needing));
    if (step.definition) add("Definition key", element("code", null, step.definition));
    if (step.content) add("Content key", element("code", null, step.content));
    const closer = element("button", { type: "button" }, "Look closer at this time");
    closer.addEventListener("click", () => {
      const margin = Math.max(took(step) * 0.1, whole.to / 1000);
      look(begin(step) - margin, step.end + margin);
    });
    const box = element("div", { class: "facts" }, list, closer);
    if (step.lines && build.dockerfile) {
      const [first, last] = step.lines;
      box.append(element("h3", null, `${build.dockerfile[0]}, line ${first === last ? first : `${first} to ${last}`}`), source(first, last));
    }
    if (step.log.length) box.append(element("h3", null, `Log, ${size(step.log_bytes)}`), log(step));
    return box;
  }

  function links(ids) {
    const known = ids.filter((id) => steps.has(id));
    return known.flatMap((id, index) => {
      const step = steps.get(id);
      const link = element("a", { href: `#step-${step.number}` }, `#${step.number} ${step.name}`);
      return index === 0 ? [link] : [element("br"), link];
    });
  }

  function source(first, last) {
    const lines = build.dockerfile[1].slice(first - 1, last);
    return block("Lines of the Dockerfile", lines.map((text, index) => element("div", { "data-at": first + index }, element("span", null, text))));
  }

  function log(step) {
    const lines = step.log.map(([at, isError, text]) =>
      element("div", { "data-at": ((at - begin(step)) / 1000).toFixed(2), class: isError ? "stderr" : null }, element("span", null, text)));
    if (step.left_out) {
      const [bytes, before] = step.left_out;
      const note = `${size(bytes)} are left out here; kiln builds logs ${build.id} --step ${step.number} prints all`;
      lines.splice(before, 0, element("div", { class: "gap", "data-at": "…" }, element("span", null, note)));
    }
    return block(`Log of step ${step.number}`, lines);
  }

  function block(name, lines) {
    return element("div", { class: "text-block", role: "region", "aria-label": name, tabindex: 0 }, ...lines);
  }

  function timeline() {
    const stages = new Map();
    for (const step of build.steps) {
      const stage = step.stage || "other";
      if (!stages.has(stage)) stages.set(stage, []);
      stages.get(stage).push(step);
    }
    const box = element("div", { class: "timeline" },
      element("div", { class: "axis" }, element("span", null, "Step"), ticks, element("span", { class: "took" }, "Took")));
    for (const [name, members] of stages) {
      members.sort((a, b) => begin(a) - begin(b) || a.number - b.number);
      const hits = members.filter((step) => kind(step) === "hit").length;
      const busy = members.reduce((sum, step) => sum + took(step), 0);
      const count = `${members.length} ${members.length === 1 ? "step" : "steps"}`;
      box.append(element("section", { class: "stage", "aria-label": `Stage ${name}` },
        element("div", { class: "head" },
          element("h2", null, name),
          element("span", null, `${count}${hits ? `, ${hits} cached` : ""}${busy ? ` · ${duration(busy)}` : ""}`)),
        element("ol", null, ...members.map(row))));
    }
    box.append(element("p", { class: "none", hidden: true }, "No step matches."));
    return box;
  }

  // --- Search, choice and keys --------------------------------------------------------------------

  function tools(box) {
    const search = element("input", { type: "search", placeholder: "Search steps", "aria-label": "Search steps", spellcheck: "false" });
    const choices = element("div", { class: "choices", role: "group", "aria-label": "Which steps" });
    let chosen = "all";
    const apply = () => {
      const words = search.value.trim().toLowerCase();
      let shown = 0;
      for (const { item, tone, isCritical, words: text } of rows) {
        const fits = chosen === "all" || chosen === tone || (chosen === "critical" && isCritical);
        item.hidden = !(fits && text.includes(words));
        shown += item.hidden ? 0 : 1;
      }
      for (const stage of box.querySelectorAll(".stage")) {
        stage.hidden = !stage.querySelector(".step:not([hidden])");
      }
      box.querySelector(".none").hidden = shown > 0;
      const first = rows.find(({ item }) => !item.hidden);
      if (first && !rows.some(({ item, summary }) => !item.hidden && summary.tabIndex === 0)) turn(first);
    };
    const count = (wanted) => rows.filter(wanted).length;
    const options = [["all", "All", rows.length], ...Object.entries(kinds).map(([name, text]) => [name, text, count(({ tone }) => tone === name)]), ["critical", "◆ Critical path", count(({ isCritical }) => isCritical)]];
    for (const [name, text, number] of options) {
      if (number === 0 && name !== "all") continue;
      const button = element("button", { type: "button", "aria-pressed": name === chosen },
        name in kinds ? element("span", { class: `key ${name}` }) : null, `${text} ${number}`);
      button.setAttribute("aria-pressed", String(name === chosen));
      button.addEventListener("click", () => {
        chosen = name;
        for (const other of choices.children) other.setAttribute("aria-pressed", String(other === button));
        apply();
      });
      choices.append(button);
    }
    search.addEventListener("input", apply);
    reset.addEventListener("click", () => look(whole.from, whole.to));
    return { bar: element("div", { class: "tools" }, search, choices, reset), search };
  }

  /// Makes a row the one that Tab reaches.
  function turn(to) {
    for (const { summary } of rows) if (summary.tabIndex === 0) summary.tabIndex = -1;
    to.summary.tabIndex = 0;
  }

  function keys(search) {
    const go = (event, target) => {
      if (!target) return;
      event.preventDefault();
      turn(target);
      target.summary.focus();
      target.item.scrollIntoView({ block: "nearest" });
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && event.target !== search) {
        event.preventDefault();
        search.focus();
        return;
      }
      if (event.key === "Escape") {
        if (event.target === search) search.blur();
        look(whole.from, whole.to);
        return;
      }
      const shown = rows.filter(({ item }) => !item.hidden);
      const at = shown.findIndex(({ summary }) => summary === event.target);
      if (at < 0) return;
      switch (event.key) {
        case "ArrowDown": return go(event, shown[at + 1]);
        case "ArrowUp": return go(event, shown[at - 1]);
        case "Home": return go(event, shown[0]);
        case "End": return go(event, shown[shown.length - 1]);
      }
    });
    document.addEventListener("focusin", (event) => {
      const found = event.target.tagName === "SUMMARY" && rows.find(({ summary }) => summary === event.target);
      if (found) turn(found);
    });
  }

  /// Opens the step that the address names.
  function follow() {
    const found = rows.find(({ item }) => `#${item.id}` === location.hash);
    if (!found) return;
    found.details.open = true;
    if (found.details.children.length === 1) found.details.append(facts(found.step));
    turn(found);
    found.item.scrollIntoView({ block: "start" });
    found.summary.focus({ preventScroll: true });
  }

  function dockerfile() {
    if (!build.dockerfile || !build.dockerfile[1].length) return null;
    const [name, lines] = build.dockerfile;
    const details = element("details", { class: "panel whole-file" }, element("summary", null, name));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(source(1, lines.length));
    });
    return details;
  }

  // ------------------------------------------------------------------------------------------------

  head();
  const box = timeline();
  const { bar, search } = tools(box);
  document.getElementById("main").append(parallelism(), bar, box);
  const file = dockerfile();
  if (file) document.getElementById("main").append(file);
  document.getElementById("footer").append(
    `Kiln ${build.kiln} · `,
    element("kbd", null, "↑"), " ", element("kbd", null, "↓"), " between steps, ",
    element("kbd", null, "Enter"), " opens one, ", element("kbd", null, "/"), " searches, ",
    element("kbd", null, "Esc"), " shows the whole time",
    build.damaged ? ` · ${build.damaged} lines of the record could not be read` : "");
  keys(search);
  look(whole.from, whole.to);
  follow();
  window.addEventListener("hashchange", follow);
  window.addEventListener("resize", drawTicks);
})();
