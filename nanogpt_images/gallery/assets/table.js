// ---- Table: rows and columns by any two fields; only the cells near the window exist ----

const box = byId("table-box");
const table = byId("table");
const DEEP = 4; // lines of images that a cell shows
const PAD = 8;
const drawn = new Map(); // row → { line, cells: column → cell }
let plan = { lines: [], columns: [], per: 1, most: DEEP, cell: 0, width: 0, tile: 0, head: 0, top: 0, facts: 0 };
let spots = []; // place → { row, column, level }

function layOutTable() {
  const [down, across] = [fields.get(byId("rows").value), fields.get(byId("columns").value)];
  const found = new Map();
  const across_values = new Set();
  for (const item of shown) {
    const [row, column] = [down.of(item), across.of(item)];
    across_values.add(column);
    if (!found.has(row)) found.set(row, new Map());
    const cells = found.get(row);
    if (cells.has(column)) cells.get(column).push(item);
    else cells.set(column, [item]);
  }
  const columns = ordered(across, [...across_values]);
  const names = byId("sort").value ? [...found.keys()] : ordered(down, [...found.keys()]);
  const width = Math.round(ideal() * 0.8);
  const head = box.clientWidth < 600 ? 104 : 224;
  let members = 1;
  for (const cells of found.values()) for (const list of cells.values()) members = Math.max(members, list.length);
  // Where there is room, the images of a cell stand side by side.
  const room = Math.floor((box.clientWidth - head) / columns.length / (width + PAD));
  const per = Math.max(1, Math.min(members, room));
  const cell = per * (width + PAD) + PAD;
  const letters = Math.max(4, ...columns.map((value) => Math.min(90, value.length)));
  const title = Math.ceil((letters * 0.52 * letter()) / (cell - 2 * PAD));
  const ratios = shown.map((item) => item.ratio).sort((a, b) => a - b);
  const tile = Math.round(width / (ratios[ratios.length >> 1] ?? 1));
  let longest = 0;
  for (const item of shown) longest = Math.max(longest, metaParts(item, [down.id, across.id]).join(" · ").length);
  const facts = (0.5 + 1.1 * Math.min(4, Math.max(1, Math.ceil((longest * 0.42 * letter()) / width)))) * letter();
  plan = { lines: [], columns, per, most: per * DEEP, cell, width, tile, head, facts, top: (1.2 + 1.05 * title) * letter() };
  spots = [];
  shown = [];
  let top = plan.top;
  for (const [row, name] of names.entries()) {
    const cells = [];
    let most = 1;
    for (const [column, value] of columns.entries()) {
      const members = found.get(name).get(value) ?? [];
      cells.push({ first: shown.length, members });
      most = Math.max(most, Math.ceil(Math.min(plan.most, members.length) / per));
      for (const [level, item] of members.entries()) {
        spots.push({ row, column, level: Math.min(level, plan.most - 1) });
        shown.push(item);
      }
    }
    const height = most * (tile + facts) + 2 * PAD;
    plan.lines.push({ top, height, name, cells });
    top += height;
  }
  for (const { line } of drawn.values()) line.remove();
  drawn.clear();
  table.style.width = `${plan.head + columns.length * plan.cell}px`;
  table.style.height = `${top}px`;
  table.style.setProperty("--head", `${plan.head}px`);
  table.style.setProperty("--cell", `${plan.cell}px`);
  table.style.setProperty("--width", `${width}px`);
  table.style.setProperty("--tile", `${tile}px`);
  table.style.setProperty("--top", `${plan.top}px`);
  table.style.setProperty("--facts", `${facts}px`);
  table.setAttribute("aria-rowcount", names.length + 1);
  table.setAttribute("aria-colcount", columns.length + 1);
  byId("corner").textContent = `${down.label} × ${across.label.toLowerCase()}`;
}

function visible() {
  const { scrollTop, scrollLeft, clientHeight, clientWidth } = box;
  const columns = plan.columns.length;
  return {
    top: plan.lines.length ? lastAbove(plan.lines, scrollTop - clientHeight / 2) : 0,
    bottom: lastAbove(plan.lines, scrollTop + 1.5 * clientHeight),
    left: Math.max(0, Math.floor((scrollLeft - clientWidth / 2) / plan.cell)),
    right: Math.min(columns - 1, Math.ceil((scrollLeft + 1.5 * clientWidth) / plan.cell)),
  };
}

function drawTable() {
  const { top, bottom, left, right } = visible();
  const spot = spots[active];
  const near = (row) => (row >= top && row <= bottom) || row === spot?.row;
  for (const [row, { line }] of drawn) {
    if (near(row)) continue;
    line.remove();
    drawn.delete(row);
  }
  byId("table-heads").replaceChildren(byId("corner"), ...range(left, right).map(headOf));
  const wanted = plan.lines.length ? range(top, bottom) : [];
  if (spot && (spot.row < top || spot.row > bottom)) wanted.push(spot.row);
  let before = byId("table-heads");
  for (const row of wanted.sort((a, b) => a - b)) {
    const { line, cells } = drawn.get(row) ?? makeLine(row);
    if (before.nextSibling !== line) before.after(line);
    before = line;
    for (const [column, cell] of cells) {
      if ((column >= left && column <= right) || (row === spot?.row && column === spot.column)) continue;
      cell.remove();
      cells.delete(column);
    }
    for (const column of row === spot?.row ? [...range(left, right), spot.column] : range(left, right))
      if (!cells.has(column)) {
        const cell = cellOf(row, column);
        cells.set(column, cell);
        line.append(cell);
      }
  }
  for (const tile of table.querySelectorAll("[data-place]")) {
    tile.tabIndex = Number(tile.dataset.place) === active ? 0 : -1;
    markPick(tile, shown[tile.dataset.place]);
  }
}

const range = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => from + at);

function headOf(column) {
  const head = element("div", { className: "column", role: "columnheader", textContent: plan.columns[column] || "none", dir: "auto" });
  head.setAttribute("aria-colindex", column + 2);
  head.style.transform = `translateX(${plan.head + column * plan.cell}px)`;
  return head;
}

function makeLine(row) {
  const { top, height, name } = plan.lines[row];
  const title = element("div", { className: "row-title", role: "rowheader" }, element("span", { textContent: short(name, 400) || "none", dir: "auto" }));
  const line = element("div", { className: "line", role: "row" }, title);
  line.setAttribute("aria-rowindex", row + 2);
  line.style.transform = `translateY(${top}px)`;
  line.style.height = `${height}px`;
  const made = { line, cells: new Map() };
  drawn.set(row, made);
  return made;
}

function cellOf(row, column) {
  const { first, members } = plan.lines[row].cells[column];
  const cell = element("div", { className: "cell", role: "gridcell" });
  cell.setAttribute("aria-colindex", column + 2);
  cell.style.transform = `translateX(${plan.head + column * plan.cell}px)`;
  for (const [level, item] of members.slice(0, plan.most).entries()) cell.append(tileOf(item, first + level, members.length));
  return cell;
}

function tileOf(item, place, members) {
  const tile = byId("tile").content.firstElementChild.cloneNode(true);
  tile.dataset.place = place;
  tile.querySelector(".picture").prepend(pictureOf(item));
  fillMeta(tile.querySelector(".meta"), item, [byId("rows").value, byId("columns").value]);
  if (!item.image?.thumbnail) fitReason(tile, plan.tile);
  const more = members - plan.most;
  if (spots[place].level === plan.most - 1 && more > 0) {
    const note = tile.querySelector(".more");
    note.textContent = `+ ${number(more)} more`;
    note.hidden = false;
  }
  return tile;
}

/** The place of what is shown of the images at a place: a cell shows its first ones. */
function visiblePlace(place) {
  const { row, column, level } = spots[place];
  return plan.lines[row].cells[column].first + level;
}

function focusTile(place) {
  active = visiblePlace(place);
  const { row, column, level } = spots[active];
  const { top, height } = plan.lines[row];
  const y = top + PAD + Math.floor(level / plan.per) * (plan.tile + plan.facts);
  if (y - plan.top - PAD < box.scrollTop) box.scrollTop = y - plan.top - PAD;
  const bottom = Math.min(y + plan.tile + plan.facts, top + height);
  if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  const x = column * plan.cell;
  if (x < box.scrollLeft) box.scrollLeft = x;
  const right = plan.head + x + plan.cell;
  if (right > box.scrollLeft + box.clientWidth) box.scrollLeft = right - box.clientWidth;
  drawTable();
  const tile = table.querySelector(`[data-place="${active}"]`);
  tile.focus({ preventScroll: true });
  tile.scrollIntoView({ block: "nearest" });
}

function neighbourInTable(place, key) {
  const { row, column, level } = spots[place];
  const at = (line, across) => {
    const { first, members } = plan.lines[line].cells[across];
    return members.length ? first + Math.min(level, members.length - 1) : -1;
  };
  const cell = plan.lines[row].cells[column];
  const there = Math.min(plan.most, cell.members.length);
  switch (key) {
    case "ArrowLeft":
      if (level % plan.per) return place - 1;
      for (let other = column - 1; other >= 0; other--) if (at(row, other) >= 0) return at(row, other);
      return -1;
    case "ArrowRight":
      if ((level + 1) % plan.per && level + 1 < there) return place + 1;
      for (let other = column + 1; other < plan.columns.length; other++) if (at(row, other) >= 0) return at(row, other);
      return -1;
    case "ArrowUp":
      if (level >= plan.per) return place - plan.per;
      for (let other = row - 1; other >= 0; other--) {
        const { first, members } = plan.lines[other].cells[column];
        if (members.length) return first + Math.min(members.length, plan.most) - 1;
      }
      return -1;
    case "ArrowDown":
      if (level + plan.per < there) return place + plan.per;
      for (let other = row + 1; other < plan.lines.length; other++)
        if (plan.lines[other].cells[column].members.length) return plan.lines[other].cells[column].first;
      return -1;
    case "Home": return 0;
    case "End": return shown.length - 1;
    default: return -1;
  }
}

listen(table, neighbourInTable);
box.addEventListener("scroll", drawSoon, { passive: true });
