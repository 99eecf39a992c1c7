// ---- Filters, order and view; all of them stand in the address ----

const filters = byId("filters");
const search = byId("text");
const SORTS = [
  ["", "Batch order", null],
  ["at", "Newest first", (item) => -item.request.at],
  ["cost", "Cost, highest first", (item) => -(item.image ?? item.request).cost_usd],
  ["took", "Slowest first", (item) => -(item.request.took_s ?? 0)],
  ["pick", "Picks, best first", (item) => -(pickOf(item) === "x" ? 0.5 : Number(pickOf(item)))],
];

function fillControls() {
  const counts = new Map();
  for (const item of items) counts.set(item.state, (counts.get(item.state) ?? 0) + 1);
  for (const [name] of fields.get("model").ranked()) {
    const count = items.filter((item) => item.request.model === name).length;
    byId("model").append(new Option(`${name} (${number(count)})`, name));
  }
  byId("model").closest(".field").hidden = !fields.get("model").varies();
  const choices = [["", "All", items.length], ...Object.entries(STATES).map(([state, label]) => [state, label, counts.get(state)])];
  if (counts.get("failed") && counts.get("unknown"))
    choices.push(["failed unknown", "Failed or unknown", counts.get("failed") + counts.get("unknown")]);
  for (const [state, label, count] of choices) {
    if (state && !count) continue;
    const radio = element("input", { type: "radio", name: "state", value: state, defaultChecked: !state });
    byId("states").append(element("label", { className: state.includes(" ") ? "both" : "" }, radio, label + " ", element("span", { textContent: number(count) })));
  }
  const told = varying.filter(({ id }) => id !== "state");
  for (const [id, label] of SORTS) byId("sort").append(new Option(label, id));
  for (const { id, label } of told) byId("sort").append(new Option(label, id));
  byId("group").append(new Option("Nothing", ""));
  for (const { id, label } of [...varying, fields.get("pick")]) byId("group").append(new Option(label, id));
  const axes = [...new Set([fields.get("prompt"), fields.get("model"), ...told])];
  const across = told.find(({ id }) => id !== "prompt") ?? fields.get("model");
  for (const { id, label } of axes) {
    byId("rows").append(new Option(label, id, id === "prompt", id === "prompt"));
    byId("columns").append(new Option(label, id, id === across.id, id === across.id));
  }
}

function chosen() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const { state, model, pick } = filters.elements;
  const states = state.value.split(" ");
  return items.filter(
    (item) =>
      (!state.value || states.includes(item.state)) &&
      (!model.value || item.request.model === model.value) &&
      (!pick.value || (pick.value === "any" ? pickOf(item) : (pickOf(item) || "none") === pick.value)) &&
      words.every((word) => item.search.includes(word)),
  );
}

function sorted(found) {
  const key = byId("sort").value;
  const by = SORTS.find(([id]) => id === key)?.[2];
  if (by) {
    const keys = new Map(found.map((item) => [item, by(item)]));
    found.sort((a, b) => keys.get(a) - keys.get(b) || a.order - b.order);
  } else if (fields.has(key)) {
    const { of } = fields.get(key);
    found.sort((a, b) => collator.compare(of(a), of(b)) || a.order - b.order);
  }
  return byId("reverse").checked ? found.reverse() : found;
}

/** Puts what is shown into its places; the width of the page or the size of the images may have changed. */
function arrange() {
  const isTable = inTable();
  grid.hidden = isTable || !items.length;
  box.hidden = !isTable || !shown.length;
  for (const control of document.querySelectorAll("[data-view]")) control.hidden = (control.dataset.view === "table") !== isTable;
  if (isTable) layOutTable();
  else layOut();
}

function filter() {
  shown = sorted(chosen());
  active = 0;
  showCount();
  // Behind a long list the page would stand below its new end.
  const top = byId("images").offsetTop - filters.offsetHeight;
  if (scrollY > top) scrollTo({ top, behavior: "instant" });
  box.scrollTo(0, 0);
  arrange();
  draw();
}

function showCount() {
  const all = shown.length === items.length;
  byId("count").hidden = items.length === 0;
  byId("count").textContent = all ? `${number(items.length)} shown` : `${number(shown.length)} of ${number(items.length)} shown`;
  byId("nothing").hidden = shown.length > 0;
  filters.hidden = byId("clear").hidden = items.length === 0;
  byId("nothing-text").textContent = items.length ? "Nothing matches these filters." : "There is nothing to show yet: no request of this job has ended.";
  byId("keys").hidden = shown.length === 0;
  for (const button of document.querySelectorAll(".tile button"))
    button.setAttribute("aria-pressed", String(filters.elements.state.value === button.dataset.states));
}

// ---- The address: what differs from the beginning, and the image that is open ----

const NAMES = ["text", "model", "state", "pick", "view", "rows", "columns", "sort", "group", "size"];

const isDefault = (name) => {
  const control = filters.elements[name];
  if (control instanceof RadioNodeList) return [...control].every((radio) => radio.checked === radio.defaultChecked);
  if (control.options) return [...control.options].every((option) => option.selected === option.defaultSelected) || (!control.value && control.selectedIndex === 0);
  return control.value === control.defaultValue;
};

function writeAddress(opened) {
  const told = NAMES.filter((name) => filters.elements[name] && !isDefault(name)).map((name) => [name, filters.elements[name].value]);
  if (byId("reverse").checked) told.push(["reverse", "1"]);
  if (opened) told.push(["open", opened.id]);
  const fragment = told.length ? `#${new URLSearchParams(told)}` : "";
  if (fragment === location.hash) return;
  try {
    history.replaceState(null, "", fragment || location.pathname + location.search);
  } catch {
    // Some browsers refuse it too often in a row; the next change writes it.
  }
}

function readAddress() {
  const told = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  filters.reset();
  for (const name of NAMES) {
    const control = filters.elements[name];
    if (!told.has(name)) continue;
    const values = control instanceof RadioNodeList ? [...control] : control.options ? [...control.options] : null;
    if (!values || values.some(({ value }) => value === told.get(name))) control.value = told.get(name);
  }
  byId("reverse").checked = told.has("reverse");
  filter();
  const place = told.has("open") ? shown.findIndex(({ id }) => id === told.get("open")) : -1;
  if (place >= 0) openViewer(place);
  else if (viewer.open) viewer.close();
}

const changed = () => {
  filter();
  writeAddress();
};

let sizing = false;
filters.addEventListener("input", (event) => {
  if (event.target.id !== "size") return changed();
  // A slider reports more often than the window is painted.
  if (sizing) return;
  sizing = true;
  requestAnimationFrame(() => {
    sizing = false;
    changed();
  });
});
filters.addEventListener("submit", (event) => event.preventDefault());
byId("clear").addEventListener("click", () => {
  const { view, size } = filters.elements;
  const kept = [view.value, size.value];
  filters.reset();
  [view.value, size.value] = kept;
  changed();
  search.focus();
});
byId("more").addEventListener("click", (event) => {
  const open = filters.classList.toggle("open");
  event.currentTarget.setAttribute("aria-expanded", String(open));
});
for (const button of document.querySelectorAll(".tile button"))
  button.addEventListener("click", () => {
    const { state } = filters.elements;
    const wanted = state.value === button.dataset.states ? "" : button.dataset.states;
    // Setting the list's own value does nothing for an empty one.
    for (const radio of state) radio.checked = radio.value === wanted;
    changed();
    byId("images").scrollIntoView({ block: "nearest" });
  });
for (const page of document.querySelectorAll(".pages a"))
  page.addEventListener("click", () => (page.hash = location.hash.replace(/&?open=[^&]*/, "")));
addEventListener("hashchange", () => (location.hash.includes("=") || !location.hash) && readAddress());
