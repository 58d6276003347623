"use strict";

// The table of arms: sorting, filtering, marking an arm in every chart, and LaTeX of what is shown.
const table = document.getElementById("arm-table");
const body = table.tBodies[0];
const headings = [...table.tHead.rows[0].cells];

function compare(one, other) {
  if (one === "" || other === "") return one === other ? 0 : one === "" ? 1 : -1; // what is missing comes last
  const numbers = [Number(one), Number(other)];
  return numbers.some(Number.isNaN) ? one.localeCompare(other) : numbers[0] - numbers[1];
}

headings.forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].sort((left, right) => {
      const keys = [left.cells[column].dataset.key, right.cells[column].dataset.key];
      const order = compare(keys[0], keys[1]);
      return descending && keys.every((key) => key !== "") ? -order : order;
    });
    body.append(...rows);
  });
});

const armFilter = document.getElementById("arm-filter");
const verdictFilter = document.getElementById("verdict-filter");

function filterArms() {
  const wanted = armFilter.value.trim().toLowerCase();
  let shown = 0;
  for (const row of body.rows) {
    const fits = row.dataset.arm.toLowerCase().includes(wanted)
      && (!verdictFilter.value || row.dataset.verdict === verdictFilter.value);
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("arm-count").textContent = `${shown} of ${body.rows.length} rows`;
}

armFilter.addEventListener("input", filterArms);
verdictFilter.addEventListener("change", filterArms);
filterArms();

body.addEventListener("click", (event) => {
  const button = event.target.closest(".pick");
  if (!button) return;
  const marked = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(marked));
  const arm = button.closest("tr").dataset.arm;
  for (const part of document.querySelectorAll("[data-arm]")) {
    if (part.dataset.arm === arm) part.classList.toggle("on", marked);
  }
});

const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--" };

function latex(text) {
  return text.replace(/[\\~^−–]|[&%$#_{}]/g, (mark) => SPECIAL[mark] ?? `\\${mark}`);
}

document.getElementById("latex-button").addEventListener("click", () => {
  const line = (cells) => `${cells.map((cell) => latex(cell.textContent.trim())).join(" & ")} \\\\`;
  const rows = [...body.rows].filter((row) => !row.hidden).map((row) => line([...row.cells]));
  const columns = `rl${"r".repeat(headings.length - 2)}`;
  const shown = document.getElementById("latex");
  shown.textContent = [`\\begin{tabular}{${columns}}`, "\\toprule", line(headings), "\\midrule", ...rows,
    "\\bottomrule", "\\end{tabular}"].join("\n");
  shown.hidden = false;
  shown.focus();
});

// The sample browser.
const data = JSON.parse(document.getElementById("sample-data").textContent);
const list = document.getElementById("sample-list");
const PAGE = 20;
let chosen = [];
let start = 0;

function option(select, value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  select.append(made);
}

function part(parent, name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
}

function cellsOf(arm) {
  return data.cells.flatMap(([own], cell) => (own === arm ? [cell] : []));
}

function outcome(sample, arm) {
  const digits = cellsOf(arm).map((cell) => sample.right[cell]);
  if (digits.every((digit) => digit === "1")) return "right";
  return digits.every((digit) => digit === "0") ? "wrong" : "mixed";
}

function answersOf(sample, arm) {
  const seeds = new Map();
  for (const cell of cellsOf(arm)) {
    if (sample.answers[cell] < 0) continue;
    const shown = data.shows === "text" ? data.answers[sample.answers[cell]] : `IoU ${sample.overlap[cell]} %`;
    const own = seeds.get(shown) ?? { seeds: [], right: sample.right[cell] === "1" };
    own.seeds.push(data.cells[cell][1]);
    seeds.set(shown, own);
  }
  return seeds;
}

function box(svg, text, kind) {
  const [x1, y1, x2, y2] = text.split(/[ ,]+/).map(Number);
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const values = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind };
  for (const [name, value] of Object.entries(values)) rect.setAttribute(name, value);
  svg.append(rect);
  return rect;
}

function show(sample) {
  const item = part(list, "li");
  const figure = part(item, "figure");
  let svg = null;
  if (sample.picture >= 0 && data.pictures[sample.picture]) {
    const image = part(figure, "img");
    image.src = data.pictures[sample.picture];
    image.alt = `The picture of sample ${sample.id}`;
    if (sample.size) {
      svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", `0 0 ${sample.size[1]} ${sample.size[0]}`);
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
      figure.append(svg);
      box(svg, sample.truth, "truth");
    }
  }
  const words = part(item, "div");
  part(words, "p", sample.text, "question");
  const answers = part(words, "dl");
  if (data.shows === "text") {
    part(answers, "dt", "truth");
    part(answers, "dd", sample.truth);
  }
  data.arms.forEach((label, arm) => {
    const name = part(answers, "dt", label);
    const cell = part(answers, "dd");
    [...answersOf(sample, arm)].forEach(([text, found], place) => {
      if (place) cell.append(", ");
      part(cell, "span", text, found.right ? "right" : "wrong");
      cell.append(` (${found.seeds.length > 1 ? "seeds" : "seed"} ${found.seeds.join(", ")})`);
    });
    if (svg) {
      let drawn = [];
      const draw = () => { drawn = cellsOf(arm).filter((own) => sample.answers[own] >= 0)
        .map((own) => box(svg, data.answers[sample.answers[own]], "answer")); };
      const clear = () => { drawn.forEach((rect) => rect.remove()); };
      for (const element of [name, cell]) {
        element.addEventListener("pointerenter", draw);
        element.addEventListener("pointerleave", clear);
      }
    }
  });
  part(words, "p", `sample ${sample.id}`, "note");
}

function page() {
  list.replaceChildren();
  chosen.slice(start, start + PAGE).forEach(show);
  const last = Math.min(start + PAGE, chosen.length);
  const range = chosen.length ? `${start + 1} to ${last} of ${chosen.length}` : "no sample fits";
  document.getElementById("sample-count").textContent =
    `${range}; ${data.samples.length} of the ${data.total} samples are in this file`;
  document.getElementById("sample-back").disabled = start === 0;
  document.getElementById("sample-next").disabled = last >= chosen.length;
}

function filterSamples(fields) {
  const text = fields.text.value.trim().toLowerCase();
  const [slice, value] = fields.slice.value === "" ? [] : fields.slice.value.split("/").map(Number);
  const arm = fields.arm.value === "" ? -1 : Number(fields.arm.value);
  const other = fields.other.value === "" ? -1 : Number(fields.other.value);
  const words = data.answers.map((answer) => answer.toLowerCase());
  chosen = data.samples.filter((sample) => (slice === undefined || sample.slices[slice] === value)
    && (!text || sample.text.toLowerCase().includes(text) || sample.truth.toLowerCase().includes(text)
      || (data.shows === "text" && sample.answers.some((answer) => answer >= 0 && words[answer].includes(text))))
    && (arm < 0 || !fields.right.value || outcome(sample, arm) === fields.right.value)
    && (arm < 0 || other < 0 || outcome(sample, arm) !== outcome(sample, other)));
  start = 0;
  page();
}

if (list) {
  const field = (name) => document.getElementById(`sample-${name}`);
  const fields = { text: field("text"), slice: field("slice"), arm: field("arm"), right: field("right"), other: field("other") };
  Object.entries(data.slices).forEach(([name, values], slice) => {
    values.forEach((value, place) => option(fields.slice, `${slice}/${place}`, `${name}: ${value}`));
  });
  data.arms.forEach((label, arm) => {
    option(fields.arm, arm, label);
    option(fields.other, arm, label);
  });
  Object.values(fields).forEach((input) => input.addEventListener("input", () => filterSamples(fields)));
  document.getElementById("sample-back").addEventListener("click", () => { start -= PAGE; page(); });
  document.getElementById("sample-next").addEventListener("click", () => { start += PAGE; page(); });
  filterSamples(fields);
}
