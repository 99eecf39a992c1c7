// ---- Pieces of cards and of the table's cells ----

const SAYS_MONEY = /\bcharged?\b|\bpaid\b|nothing was sent/i;

function pictureOf(item) {
  const { request, image } = item;
  if (!image?.thumbnail) return placeholderOf(item, 240);
  const small = element("img", { alt: short(request.prompt, 160), loading: "lazy", decoding: "async", src: link(image.thumbnail) });
  small.addEventListener("error", () => small.replaceWith(placeholder("fault", "No preview", `${image.thumbnail} cannot be shown.`)));
  return small;
}

function placeholderOf({ request, image, state }, length) {
  if (image) return placeholder("fault", "No preview", image.fault);
  const reason = [request.error, request.reason].filter(Boolean).join(": ");
  const cost = state === "linked" ? "It is paid for, and the next run downloads it." : CHARGES[request.charge];
  // Most reasons end with what is known about the money.
  return placeholder(state, STATES[state], short(reason, length), SAYS_MONEY.test(request.reason ?? "") ? "" : cost);
}

const placeholder = (kind, title, ...lines) =>
  element(
    "span",
    { className: `placeholder ${kind}` },
    element("strong", { textContent: title }),
    ...lines.filter(Boolean).map((line) => element("span", { textContent: line, dir: "auto" })),
  );

function costOf({ request, image }) {
  const cost = image ? image.cost_usd : request.cost_usd;
  return cost || image ? (!image && request.state === "unknown" ? "up to " : "") + money(cost) : "";
}

// What tells images of one prompt apart, as far as it differs within the batch.
const TELLING = varying.filter(({ id }) => ["p:resolution", "p:size", "p:seed"].includes(id));

function metaParts(item, without = []) {
  const told = TELLING.filter(({ id }) => !without.includes(id)).map((field) => {
    const value = short(field.of(item), 40);
    return value && (field.id === "p:seed" ? `seed ${value}` : value);
  });
  const model = fields.get("model").varies() && !without.includes("model") ? item.request.model : "";
  return (without.length ? [...told, model, costOf(item)] : [costOf(item), ...told, model]).filter(Boolean);
}

/** The line of facts below a picture; it breaks between facts. */
function fillMeta(line, item, without) {
  const parts = metaParts(item, without);
  line.replaceChildren(...parts.map((part, at) => element("span", { textContent: at < parts.length - 1 ? `${part} · ` : part })));
}

const modified = (event) => event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
