// ---- Data: requests → items, one per image and one for what did not come ----

const byId = (id) => document.getElementById(id);
const html = document.documentElement;

const STATES = { done: "Done", failed: "Failed", unknown: "Unknown", linked: "To download" };
const CHARGES = {
  not_sent: "Nothing was sent, so nothing was charged.",
  rejected: "It was not charged.",
  charged: "It was charged.",
  unknown: "It may have been charged.",
};

function itemsOf(requests) {
  const items = [];
  for (const request of requests) {
    const search = searchable(request);
    for (const image of request.images)
      items.push({ request, image, search, id: image.file, state: "done", ratio: ratioOf(image) });
    if (request.state in STATES && request.state !== "done")
      items.push({ request, image: null, search, id: request.id, state: request.state, ratio: 1.2 });
  }
  return items;
}

function searchable(request) {
  const texts = [request.prompt, request.model, request.name, request.key, request.request_id, request.error, request.reason];
  for (const values of [request.parameters, request.metadata ?? {}])
    for (const [name, value] of Object.entries(values)) texts.push(`${name}=${text(value)}`);
  return texts.filter(Boolean).join("\n").toLowerCase();
}

const ratioOf = (image) => Math.min(2.4, Math.max(0.62, image.width ? image.width / image.height : 1));

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

const items = itemsOf(JSON.parse(byId("data").textContent));
items.forEach((item, order) => (item.order = order));
let shown = items;

// ---- Fields: what items can be sorted, grouped and laid out by ----

const collator = new Intl.Collator("en", { numeric: true });
const fields = new Map();

function addField(id, label, of) {
  // The values in the order in which they first occur, each with its place in that order.
  let ranks = null;
  const ranked = () => {
    if (!ranks) {
      ranks = new Map();
      for (const item of items) if (!ranks.has(of(item))) ranks.set(of(item), ranks.size);
    }
    return ranks;
  };
  fields.set(id, { id, label, of, ranked, varies: () => ranked().size > 1 });
}

addField("prompt", "Prompt", (item) => item.request.prompt);
addField("model", "Model", (item) => item.request.model);
for (const [kind, from] of [["p", "parameters"], ["m", "metadata"]]) {
  const names = new Set();
  for (const { request } of items) for (const name in request[from]) names.add(name);
  const first = (name) => ["resolution", "size", "seed"].indexOf(name) + 1 || 9;
  for (const name of [...names].sort((a, b) => (kind === "p" ? first(a) - first(b) : 0))) {
    const label = kind === "p" ? name[0].toUpperCase() + name.slice(1).replaceAll("_", " ") : name;
    addField(`${kind}:${name}`, label, ({ request }) => (request[from]?.[name] === undefined ? "" : text(request[from][name])));
  }
}
addField("state", "State", (item) => STATES[item.state]);

const varying = [...fields.values()].filter((field) => field.varies());

const isNumber = (value) => value !== "" && Number.isFinite(Number(value));

/** Orders values of a field: numbers by size, all else as it first occurs. */
function ordered(field, values) {
  if (values.every((value) => value === "" || isNumber(value))) return values.sort((a, b) => Number(a) - Number(b));
  const ranks = field.ranked();
  return values.sort((a, b) => ranks.get(a) - ranks.get(b));
}
