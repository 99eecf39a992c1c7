// ---- Picks: 1 to 5 for an image to keep, x for one to make again; kept in the browser, saved as a file ----

const PICKS = ["1", "2", "3", "4", "5", "x"];
// All pages of a gallery stand in one directory.
const picksKey = `nanogpt-gallery-picks ${location.pathname.replace(/[^/]*$/, "")}`;
const picks = new Map(Object.entries(readPicks()));

function readPicks() {
  try {
    return JSON.parse(localStorage.getItem(picksKey)) ?? {};
  } catch {
    return {};
  }
}

const pickOf = (item) => picks.get(item.id)?.pick ?? "";
const pickWords = (pick) => (pick === "x" ? "make again" : pick ? `${pick} of 5` : "no pick");

addField("pick", "Pick", (item) => pickOf(item));

/** Gives an item a pick, or takes the same one away. */
function setPick(item, pick) {
  const say = (words) => (byId(viewer.open ? "viewer-said" : "said").textContent = words);
  if (!item.image && pick && pick !== "x") return say("There is no image to pick; x asks for it again.");
  if (!pick || pickOf(item) === pick) picks.delete(item.id);
  else picks.set(item.id, { pick, request: item.request.id, file: item.image?.file ?? null, key: item.request.key ?? null });
  try {
    localStorage.setItem(picksKey, JSON.stringify(Object.fromEntries(picks)));
  } catch {
    // They then hold until the page is closed, and can be saved as a file.
  }
  say(pickOf(item) ? `Picked: ${pickWords(pickOf(item))}` : "Pick removed");
  showPicks();
}

function showPicks() {
  const marked = [...picks.values()];
  const again = marked.filter(({ pick }) => pick === "x").length;
  const kept = marked.length - again;
  byId("picked").textContent = [kept && `${number(kept)} picked`, again && `${number(again)} to make again`].filter(Boolean).join(", ");
  byId("picking").hidden = marked.length === 0;
}

/** Marks a card or tile with the pick of its item. */
function markPick(card, item) {
  const pick = pickOf(item);
  const badge = card.querySelector(".pick");
  if (badge.dataset.pick === pick) return;
  badge.dataset.pick = pick;
  badge.textContent = pick === "x" ? "✕" : pick && `★ ${pick}`;
  badge.hidden = !pick;
}

byId("save").addEventListener("click", () => {
  const made = JSON.stringify({ format: "nanogpt_images picks", picks: [...picks.values()] }, null, 1);
  const url = URL.createObjectURL(new Blob([made], { type: "application/json" }));
  element("a", { href: url, download: "picks.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
});
