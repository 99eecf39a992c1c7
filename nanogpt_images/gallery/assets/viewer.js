// ---- One image ----

const viewer = byId("viewer");
let current = 0;

function openViewer(place) {
  show(place);
  if (!viewer.open) viewer.showModal();
  byId("viewer-title").focus();
}

function show(place) {
  current = place;
  const item = shown[place];
  const { request, image } = item;
  const which = `${number(place + 1)} of ${number(shown.length)}`;
  byId("viewer-title").textContent = image ? which : `${which}: ${STATES[item.state].toLowerCase()}`;
  byId("viewer-prompt").textContent = request.prompt;
  byId("copied").textContent = "";
  byId("viewer-text").scrollTop = 0;
  byId("stage").replaceChildren(largeOf(item));
  showOriginal(image);
  byId("facts").replaceChildren(...factsOf(item).flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value, dir: "auto" })]));
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === shown.length - 1;
  showPick();
  writeAddress(item);
}

function showPick() {
  const item = shown[current];
  for (const button of byId("pick-buttons").children) {
    button.setAttribute("aria-pressed", String(button.value === pickOf(item)));
    button.hidden = !item.image && button.value !== "x";
  }
}

function pick(value) {
  setPick(shown[current], value);
  showPick();
  drawSoon();
}

function largeOf(item) {
  const { request, image } = item;
  if (!image?.thumbnail) return placeholderOf(item, Infinity);
  const large = element("img", { alt: short(request.prompt, 300), src: link(image.file) });
  if (image.width) Object.assign(large, { width: image.width, height: image.height });
  large.addEventListener("error", () => large.replaceWith(placeholder("fault", "Not found", `${image.file} cannot be shown.`)));
  return large;
}

function showOriginal(image) {
  const original = byId("original");
  // An SVG that is opened by itself may run scripts; as an image it may not.
  original.hidden = !image?.thumbnail || image.type === "image/svg+xml";
  if (original.hidden) original.removeAttribute("href");
  else original.href = link(image.file);
}

function factsOf(item) {
  const { request, image } = item;
  const { seed, ...parameters } = request.parameters;
  const facts = [
    ["Model", request.model],
    ["Cost", costOf(item) || money(0)],
    ["Size", image && [image.width && `${image.width} × ${image.height}`, size(image.bytes), image.type].filter(Boolean).join(" · ")],
    ["Seed", seed === undefined ? null : text(seed)],
    ...Object.entries(parameters).map(([name, value]) => [fields.get(`p:${name}`).label, text(value)]),
    ...Object.entries(request.metadata ?? {}).map(([name, value]) => [name, text(value)]),
    ["Key", request.key],
    ["Row", request.row && number(request.row)],
    ["Ended", request.at && day(request.at)],
    ["Took", request.took_s === undefined ? null : seconds(request.took_s)],
    ["File", image?.file],
    ["Request ID", request.request_id],
    ["Request", request.part],
    ["Images asked for", request.n > 1 ? request.n : null],
    ["Attempts", request.attempts],
    ["Route", { openai: "OpenAI-compatible", edit: "Edit" }[request.route] ?? null],
  ];
  return facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
}

function step(by) {
  const place = current + by;
  if (!shown[place]) return;
  const button = document.activeElement;
  show(place);
  // At an end the button that was pressed is disabled, and would take the focus with it.
  if (button.disabled) byId("viewer-title").focus();
  byId("viewer-said").textContent = `${byId("viewer-title").textContent}: ${short(shown[place].request.prompt, 160)}`;
  for (const near of [place + 1, place - 1]) if (shown[near]?.image?.thumbnail) new Image().src = link(shown[near].image.file);
}

async function copyPrompt() {
  const prompt = shown[current].request.prompt;
  let copied = true;
  try {
    await navigator.clipboard.writeText(prompt);
  } catch {
    getSelection().selectAllChildren(byId("viewer-prompt"));
    copied = false;
  }
  byId("copied").textContent = copied ? "Copied" : "Selected: copy it with the keyboard";
}

for (const value of PICKS) {
  const label = value === "x" ? "Make again" : `Pick: ${value} of 5`;
  const button = element("button", { type: "button", value, textContent: value === "x" ? "✕" : value, title: `${label} (${value})` });
  button.setAttribute("aria-label", label);
  button.addEventListener("click", () => pick(value));
  byId("pick-buttons").append(button);
}
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => viewer.close());
byId("copy").addEventListener("click", copyPrompt);
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
viewer.addEventListener("close", () => {
  byId("stage").replaceChildren();
  byId("viewer-said").textContent = "";
  writeAddress();
  if (shown[current]) focusCard(current);
});
// Wherever the focus is: a click on the picture takes it from the dialog.
document.addEventListener("keydown", (event) => {
  if (!viewer.open || modified(event)) return;
  const key = event.key.toLowerCase();
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (PICKS.includes(key)) pick(key);
  else if (key === "0") pick("");
  else return;
  event.preventDefault();
});
