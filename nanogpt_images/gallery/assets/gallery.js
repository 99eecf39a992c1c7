"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const html = document.documentElement;

  // ---- Data: requests → items, one per image and one for what did not come ----

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
      for (const image of request.images) items.push({ request, image, search, state: "done", ratio: ratioOf(image) });
      if (request.state in STATES && request.state !== "done")
        items.push({ request, image: null, search, state: request.state, ratio: 1.2 });
    }
    return items;
  }

  function searchable(request) {
    const texts = [request.prompt, request.model, request.name, request.key, request.request_id, request.error, request.reason];
    for (const [name, value] of Object.entries(request.parameters)) texts.push(`${name}=${text(value)}`);
    return texts.filter(Boolean).join("\n").toLowerCase();
  }

  const ratioOf = (image) => Math.min(2.4, Math.max(0.62, image.width ? image.width / image.height : 1));

  const items = itemsOf(JSON.parse(byId("data").textContent));
  let shown = items;

  // ---- Words ----

  function text(value) {
    return typeof value === "string" ? value : JSON.stringify(value);
  }

  function money(usd) {
    if (usd >= 100) return "$" + usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    const [whole, digits] = usd.toFixed(6).split(".");
    return `$${whole}.${digits.replace(/0+$/, "").padEnd(2, "0")}`;
  }

  function size(bytes) {
    if (bytes < 1e3) return `${bytes} B`;
    return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  }

  function short(long, length) {
    if (long.length <= length) return long;
    const characters = [...long.slice(0, length * 2 + 2)];
    return characters.length > length ? characters.slice(0, length).join("").trimEnd() + "…" : long;
  }

  // A name may hold "#", "?" or "%"; none of them is to mean anything in an address.
  const link = (path) => "./" + path.split("/").map(encodeURIComponent).join("/");

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // ---- Layout: rows of equal height, each as wide as the page ----

  const grid = byId("grid");
  let boxes = [];
  let rows = [];

  function layOut() {
    const width = grid.clientWidth;
    const gap = width < 600 ? 12 : 18;
    const ideal = width < 600 ? 190 : 230;
    // What the style gives caption and line below a picture, for the reader's size of letters.
    const below = 4.1 * parseFloat(getComputedStyle(html).fontSize);
    boxes = [];
    rows = [];
    let top = 0;
    for (let first = 0; first < shown.length; ) {
      let last = first;
      let sum = shown[first].ratio;
      const heightOf = () => (width - gap * (last - first)) / sum;
      while (heightOf() > ideal && last + 1 < shown.length) sum += shown[++last].ratio;
      // One image may be wider than a phone; a last row is not blown up.
      const height = Math.min(heightOf(), ideal * (last + 1 === shown.length ? 1 : 1.25));
      let left = 0;
      for (let place = first; place <= last; place++) {
        const wide = shown[place].ratio * height;
        boxes.push({ left, top, width: wide, height: height + below, row: rows.length });
        left += wide + gap;
      }
      rows.push({ top, first, last });
      top += height + below + gap;
      first = last + 1;
    }
    grid.style.height = `${top}px`;
  }

  function rowAt(y) {
    let low = 0;
    let high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle].top <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // ---- Cards: only those near the window exist ----

  const cards = new Map();
  let active = 0;

  function draw() {
    const wanted = [];
    if (rows.length) {
      const from = -grid.getBoundingClientRect().top;
      const ahead = innerHeight;
      const first = rows[rowAt(from - ahead)].first;
      const last = rows[rowAt(from + innerHeight + ahead)].last;
      const focused = grid.contains(document.activeElement);
      // Tab comes back to where the reader looks, unless a card has the focus already.
      if (!focused && (boxes[active].top < from - boxes[active].height || boxes[active].top > from + innerHeight))
        active = rows[Math.min(rowAt(from) + (from > 0), rows.length - 1)].first;
      if (active < first) wanted.push(active);
      for (let place = first; place <= last; place++) wanted.push(place);
      if (active > last) wanted.push(active);
    }
    const kept = new Set(wanted.map((place) => shown[place]));
    for (const [item, card] of cards) {
      if (kept.has(item)) continue;
      card.remove();
      cards.delete(item);
    }
    let following = grid.firstChild;
    for (const place of wanted) {
      const card = cardOf(shown[place]);
      if (card === following) following = card.nextSibling;
      else grid.insertBefore(card, following);
      put(card, place);
    }
  }

  function cardOf(item) {
    let card = cards.get(item);
    if (!card) cards.set(item, (card = makeCard(item)));
    return card;
  }

  function makeCard(item) {
    const card = byId("card").content.firstElementChild.cloneNode(true);
    const { request } = item;
    card.querySelector(".picture").append(pictureOf(item));
    const caption = card.querySelector(".caption");
    caption.textContent = short(request.prompt, 160);
    // An image is named by its prompt already.
    if (item.image?.thumbnail) caption.setAttribute("aria-hidden", "true");
    card.querySelector(".meta").textContent = metaOf(item);
    return card;
  }

  function pictureOf(item) {
    const { request, image } = item;
    if (!image?.thumbnail) return placeholderOf(item, 200);
    const small = element("img", { alt: short(request.prompt, 160), loading: "lazy", decoding: "async", src: link(image.thumbnail) });
    small.addEventListener("error", () => small.replaceWith(placeholder("fault", "No preview", `${image.thumbnail} cannot be shown.`)));
    return small;
  }

  function placeholderOf({ request, image, state }, length) {
    if (image) return placeholder("fault", "No preview", image.fault);
    const reason = [request.error, request.reason].filter(Boolean).join(": ");
    const money = state === "linked" ? "It is paid for, and the next run downloads it." : CHARGES[request.charge];
    return placeholder(state, STATES[state], short(reason, length), money);
  }

  const placeholder = (kind, title, ...lines) =>
    element(
      "span",
      { className: `placeholder ${kind}` },
      element("strong", { textContent: title }),
      ...lines.filter(Boolean).map((line) => element("span", { textContent: line, dir: "auto" })),
    );

  function metaOf({ request, image }) {
    const cost = image ? image.cost_usd : request.cost_usd;
    const bounded = !image && request.state === "unknown" ? "up to " : "";
    return [cost || image ? bounded + money(cost) : "", request.model].filter(Boolean).join(" · ");
  }

  function put(card, place) {
    const box = boxes[place];
    const style = `translate(${box.left}px, ${box.top}px)`;
    if (card.style.transform !== style) card.style.transform = style;
    card.style.width = `${box.width}px`;
    card.style.height = `${box.height}px`;
    card.dataset.place = place;
    card.setAttribute("aria-posinset", place + 1);
    card.setAttribute("aria-setsize", shown.length);
    card.firstElementChild.tabIndex = place === active ? 0 : -1;
  }

  let planned = false;
  function drawSoon() {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      draw();
    });
  }

  function focusCard(place) {
    active = place;
    const box = boxes[place];
    const page = grid.getBoundingClientRect().top + scrollY;
    const bar = getComputedStyle(filters).position === "sticky" ? filters.offsetHeight : 0;
    const top = page + box.top - bar - 12;
    const bottom = page + box.top + box.height - innerHeight + 12;
    if (scrollY > top) scrollTo({ top, behavior: "instant" });
    else if (scrollY < bottom) scrollTo({ top: Math.min(bottom, top), behavior: "instant" });
    draw();
    cardOf(shown[place]).firstElementChild.focus({ preventScroll: true });
  }

  function neighbour(place, key) {
    const { row, left, width } = boxes[place];
    const centre = left + width / 2;
    const inRow = (target) => {
      const { first, last } = rows[target];
      let best = first;
      const distance = (other) => Math.abs(boxes[other].left + boxes[other].width / 2 - centre);
      for (let other = first; other <= last; other++) if (distance(other) < distance(best)) best = other;
      return best;
    };
    switch (key) {
      case "ArrowLeft": return place - 1;
      case "ArrowRight": return place + 1;
      case "ArrowUp": return row > 0 ? inRow(row - 1) : -1;
      case "ArrowDown": return row + 1 < rows.length ? inRow(row + 1) : -1;
      case "Home": return 0;
      case "End": return shown.length - 1;
      default: return -1;
    }
  }

  const modified = (event) => event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;

  grid.addEventListener("keydown", (event) => {
    const card = event.target.closest("li");
    if (!card || modified(event)) return;
    const next = neighbour(Number(card.dataset.place), event.key);
    if (!shown[next]) return;
    event.preventDefault();
    focusCard(next);
  });
  grid.addEventListener("focusin", (event) => {
    const card = event.target.closest("li");
    if (card) active = Number(card.dataset.place);
    drawSoon();
  });
  grid.addEventListener("click", (event) => {
    const card = event.target.closest("li");
    if (card) openViewer(Number(card.dataset.place));
  });
  addEventListener("scroll", drawSoon, { passive: true });
  new ResizeObserver(() => {
    layOut();
    drawSoon();
  }).observe(grid);

  // ---- Filters ----

  const filters = byId("filters");
  const search = byId("text");
  const model = byId("model");

  function counted(key) {
    const counts = new Map();
    for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
    return counts;
  }

  function fillFilters() {
    const models = [...counted((item) => item.request.model)].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, count] of models) model.append(new Option(`${name} (${count.toLocaleString("en")})`, name));
    const states = counted((item) => item.state);
    const choices = [["", "All", items.length], ...Object.entries(STATES).map(([state, label]) => [state, label, states.get(state)])];
    for (const [state, label, count] of choices) {
      if (state && !count) continue;
      const radio = element("input", { type: "radio", name: "state", value: state, defaultChecked: !state });
      byId("states").append(element("label", {}, radio, label + " ", element("span", { textContent: count.toLocaleString("en") })));
    }
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = filters.querySelector("input[name=state]:checked").value;
    shown = items.filter(
      (item) =>
        (!state || item.state === state) &&
        (!model.value || item.request.model === model.value) &&
        words.every((word) => item.search.includes(word)),
    );
    active = 0;
    showCount();
    // Behind a long list the page would stand below its new end.
    const top = byId("images").offsetTop - filters.offsetHeight;
    if (scrollY > top) scrollTo({ top, behavior: "instant" });
    layOut();
    draw();
  }

  function showCount() {
    const number = (count) => count.toLocaleString("en");
    const all = shown.length === items.length;
    byId("count").hidden = items.length === 0;
    byId("count").textContent = all ? `${number(items.length)} shown` : `${number(shown.length)} of ${number(items.length)} shown`;
    byId("nothing").hidden = shown.length > 0;
    filters.hidden = byId("clear").hidden = items.length === 0;
    byId("nothing-text").textContent = items.length ? "Nothing matches these filters." : "There is nothing to show yet: no request of this job has ended.";
    byId("keys").hidden = shown.length === 0;
  }

  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    filters.reset();
    filter();
    search.focus();
  });

  // ---- One image ----

  const viewer = byId("viewer");
  let current = 0;

  function openViewer(place) {
    show(place);
    viewer.showModal();
    byId("viewer-title").focus();
  }

  function show(place) {
    current = place;
    const item = shown[place];
    const { request, image } = item;
    const number = `${(place + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
    byId("viewer-title").textContent = image ? number : `${number}: ${STATES[item.state].toLowerCase()}`;
    byId("viewer-prompt").textContent = request.prompt;
    byId("copied").textContent = "";
    byId("viewer-text").scrollTop = 0;
    byId("stage").replaceChildren(largeOf(item));
    showOriginal(image);
    byId("facts").replaceChildren(...factsOf(item).flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value, dir: "auto" })]));
    byId("previous").disabled = place === 0;
    byId("next").disabled = place === shown.length - 1;
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

  function factsOf({ request, image }) {
    const cost = image ? image.cost_usd : request.cost_usd;
    const { seed, ...parameters } = request.parameters;
    const facts = [
      ["Model", request.model],
      ["Cost", (!image && request.state === "unknown" ? "up to " : "") + money(cost)],
      ["Size", image && [image.width && `${image.width} × ${image.height}`, size(image.bytes), image.type].filter(Boolean).join(" · ")],
      ["Seed", seed === undefined ? null : text(seed)],
      ...Object.entries(parameters).map(([name, value]) => [name, text(value)]),
      ["Key", request.key],
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

  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => viewer.close());
  byId("copy").addEventListener("click", copyPrompt);
  viewer.addEventListener("close", () => {
    byId("stage").replaceChildren();
    byId("viewer-said").textContent = "";
    focusCard(current);
  });
  // Wherever the focus is: a click on the picture takes it from the dialog.
  document.addEventListener("keydown", (event) => {
    if (!viewer.open || modified(event)) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });

  // ---- Light and dark ----

  const theme = byId("theme");
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (html.dataset.theme ? html.dataset.theme === "dark" : preference.matches);
  const showTheme = () => theme.setAttribute("aria-pressed", String(isDark()));

  theme.addEventListener("click", () => {
    html.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("nanogpt-gallery-theme", html.dataset.theme);
    } catch {
      // It then holds for this page alone.
    }
    showTheme();
  });
  preference.addEventListener("change", showTheme);

  showTheme();
  fillFilters();
  showCount();
  layOut();
  draw();
})();
