// ---- Cards: rows of equal height, each as wide as the page; only those near the window exist ----

const grid = byId("grid");
const cards = new Map();
let boxes = [];
let rows = [];
let headings = [];
let active = 0;

const letter = () => parseFloat(getComputedStyle(html).fontSize);
const ideal = () => Number(byId("size").value) * (grid.clientWidth < 600 ? 0.8 : 1);
const inTable = () => byId("filters").elements.view.value === "table";

// Lines below a picture: two of the prompt, and as many as the longest facts need at the narrowest card.
let longest = 0;
for (const item of items) longest = Math.max(longest, metaParts(item).join(" · ").length);
const metaLines = () => Math.min(3, Math.max(1, Math.ceil((longest * 0.43 * letter()) / (0.8 * ideal()))));

function groupsOf() {
  const field = fields.get(byId("group").value);
  if (!field) return [[null, shown]];
  const groups = new Map();
  for (const item of shown) {
    const value = field.of(item);
    if (groups.has(value)) groups.get(value).push(item);
    else groups.set(value, [item]);
  }
  const names = byId("sort").value ? [...groups.keys()] : ordered(field, [...groups.keys()]);
  return names.map((name) => [`${field.label}: ${short(name, 200) || "none"}`, groups.get(name)]);
}

function layOut() {
  const width = grid.clientWidth;
  const gap = width < 600 ? 12 : 18;
  const lines = metaLines();
  const below = (2.9 + 1.2 * lines) * letter();
  html.style.setProperty("--meta-lines", lines);
  const groups = groupsOf();
  boxes = [];
  rows = [];
  headings = [];
  shown = groups.flatMap(([, members]) => members);
  let top = 0;
  let end = 0;
  for (const [title, members] of groups) {
    if (title !== null) {
      headings.push({ top, title, count: members.length });
      top += 2.75 * letter();
    }
    let first = end;
    end += members.length;
    while (first < end) {
      let last = first;
      let sum = shown[first].ratio;
      const heightOf = () => (width - gap * (last - first)) / sum;
      while (heightOf() > ideal() && last + 1 < end) sum += shown[++last].ratio;
      // One image may be wider than a phone; a last row is not blown up.
      const height = Math.min(heightOf(), ideal() * (last + 1 === end ? 1 : 1.25));
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
  }
  grid.style.height = `${top}px`;
}

/** The last of *places*, which are sorted by `top`, that begins at or above *y*. */
function lastAbove(places, y) {
  let low = 0;
  let high = places.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (places[middle].top <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

function draw() {
  if (inTable()) return drawTable();
  const wanted = [];
  const from = -grid.getBoundingClientRect().top;
  const ahead = innerHeight;
  if (rows.length) {
    const first = rows[lastAbove(rows, from - ahead)].first;
    const last = rows[lastAbove(rows, from + innerHeight + ahead)].last;
    const focused = grid.contains(document.activeElement);
    // Tab comes back to where the reader looks, unless a card has the focus already.
    if (!focused && (boxes[active].top < from - boxes[active].height || boxes[active].top > from + innerHeight))
      active = rows[Math.min(lastAbove(rows, from) + (from > 0), rows.length - 1)].first;
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
  for (const old of grid.querySelectorAll(".heading")) old.remove();
  let following = grid.firstChild;
  for (const place of wanted) {
    const card = cardOf(shown[place]);
    if (card === following) following = card.nextSibling;
    else grid.insertBefore(card, following);
    put(card, place);
  }
  drawHeadings(from - ahead, from + innerHeight + ahead);
}

function drawHeadings(from, to) {
  if (!headings.length) return;
  for (let at = lastAbove(headings, from); at < headings.length && headings[at].top <= to; at++) {
    const { top, title, count } = headings[at];
    const heading = element("li", { className: "heading" }, element("h3", { textContent: title, dir: "auto" }), element("span", { textContent: number(count) }));
    heading.style.transform = `translateY(${top}px)`;
    const following = wantedAfter(top);
    grid.insertBefore(heading, following);
  }
}

/** The first card below *top*: headings stand among the cards in the order of reading. */
const wantedAfter = (top) => [...grid.children].find((card) => card.dataset.place && boxes[card.dataset.place].top > top) ?? null;

function cardOf(item) {
  let card = cards.get(item);
  if (!card) cards.set(item, (card = makeCard(item)));
  return card;
}

function makeCard(item) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const { request } = item;
  card.querySelector(".picture").prepend(pictureOf(item));
  const caption = card.querySelector(".caption");
  caption.textContent = short(request.prompt, 160);
  // An image is named by its prompt already.
  if (item.image?.thumbnail) caption.setAttribute("aria-hidden", "true");
  fillMeta(card.querySelector(".meta"), item);
  return card;
}

/** Cuts a failure's reason where its card of this height ends, so that what was charged stays below it. */
function fitReason(card, height) {
  const money = card.querySelectorAll(".placeholder span").length > 1 ? 2.6 : 0;
  card.style.setProperty("--lines", Math.max(1, Math.floor((height - (3.2 + money) * letter()) / (1.1 * letter()))));
}

function put(card, place) {
  card.firstElementChild.tabIndex = place === active ? 0 : -1;
  markPick(card, shown[place]);
  const box = boxes[place];
  // Every layout makes boxes of its own.
  if (card.box === box) return;
  card.box = box;
  card.style.transform = `translate(${box.left}px, ${box.top}px)`;
  card.style.width = `${box.width}px`;
  card.style.height = `${box.height}px`;
  if (!shown[place].image?.thumbnail) fitReason(card, box.height - (2.9 + 1.2 * metaLines()) * letter());
  card.dataset.place = place;
  card.setAttribute("aria-posinset", place + 1);
  card.setAttribute("aria-setsize", shown.length);
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
  if (inTable()) return focusTile(place);
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

/** Lets the cards of *list* be moved through, picked and opened; each has the place of its item. */
function listen(list, next) {
  list.addEventListener("keydown", (event) => {
    const card = event.target.closest("[data-place]");
    if (!card || modified(event)) return;
    const place = Number(card.dataset.place);
    const pick = event.key.toLowerCase();
    if (PICKS.includes(pick) || pick === "0") {
      setPick(shown[place], pick === "0" ? "" : pick);
      markPick(card, shown[place]);
      return;
    }
    const target = next(place, event.key);
    if (!shown[target]) return;
    event.preventDefault();
    focusCard(target);
  });
  list.addEventListener("focusin", (event) => {
    const card = event.target.closest("[data-place]");
    if (card) active = Number(card.dataset.place);
    drawSoon();
  });
  list.addEventListener("click", (event) => {
    const card = event.target.closest("[data-place]");
    if (card) openViewer(Number(card.dataset.place));
  });
}

listen(grid, neighbour);
addEventListener("scroll", () => inTable() || drawSoon(), { passive: true });
let arrangedWidth = 0;
new ResizeObserver(() => {
  const width = byId("images").clientWidth;
  if (width === arrangedWidth) return;
  arrangedWidth = width;
  arrange();
  drawSoon();
}).observe(byId("images"));
