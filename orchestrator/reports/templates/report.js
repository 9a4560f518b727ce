"use strict";
const said = document.getElementById("said");

function sortKey(row, index) {
  const given = row.cells[index].dataset.sort;
  if (given === undefined) { return null; }
  const number = Number(given);
  return Number.isNaN(number) ? given : number;
}
function compareKeys(x, y) {
  if (typeof x === "number" && typeof y === "number") { return x - y; }
  return String(x).localeCompare(String(y), "en", { numeric: true });
}
// Once ascending, once descending, then as the report has it. What has no value stays at the end.
function sortBy(table, heading) {
  const now = heading.getAttribute("aria-sort");
  const next = now === null ? "ascending" : now === "ascending" ? "descending" : null;
  const sign = next === "descending" ? -1 : 1;
  const index = next === null ? 0 : heading.cellIndex;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.sort((a, b) => {
    const x = sortKey(a, index), y = sortKey(b, index);
    if (x === null || y === null) { return (x === null) - (y === null); }
    return sign * compareKeys(x, y);
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) { other.removeAttribute("aria-sort"); }
  if (next !== null) { heading.setAttribute("aria-sort", next); }
  const name = heading.textContent.trim();
  said.textContent = next === null ? "in the order of the report" : `sorted by ${name}, ${next}`;
}

// Every word has to occur; a word with - before it must not.
function matches(text, words) {
  return words.every((word) => word.length > 1 && word[0] === "-"
    ? !text.includes(word.slice(1)) : text.includes(word));
}
function filterSection(section, input, output) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const first = section.querySelector("table.sortable");
  const kept = new Set();
  let shown = 0;
  for (const row of first.tBodies[0].rows) {
    row.hidden = !matches(row.textContent.toLowerCase(), words);
    if (!row.hidden) { shown += 1; kept.add(row.dataset.row); }
  }
  // What else stands for a row of the first table follows it.
  for (const other of section.querySelectorAll("[data-row]")) {
    if (!first.contains(other)) { other.hidden = !kept.has(other.dataset.row); }
  }
  output.textContent = `${shown} of ${first.tBodies[0].rows.length} rows`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
  }
}
for (const box of document.querySelectorAll(".filter")) {
  const section = box.closest("section");
  const input = box.querySelector("input"), output = box.querySelector("output");
  box.hidden = false;
  const update = () => filterSection(section, input, output);
  input.addEventListener("input", update);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { input.value = ""; update(); }
  });
  update();
}
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Pages opened from a file may not write to the clipboard: select the text instead.
      window.getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
}
// A link to what is folded away, or filtered out, shows it.
function showTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target === null) { return; }
  for (let part = target; part !== null; part = part.parentElement) {
    if (part.tagName === "DETAILS") { part.open = true; }
    part.hidden = false;
  }
  target.scrollIntoView();
}
window.addEventListener("hashchange", showTarget);
showTarget();
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) { details.open = true; }
});
