// ---- Words ----

function money(usd) {
  if (usd >= 100) return "$" + usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const [whole, digits] = usd.toFixed(6).split(".");
  return `$${whole}.${digits.replace(/0+$/, "").padEnd(2, "0")}`;
}

const number = (count) => count.toLocaleString("en");

function size(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const seconds = (s) => (s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`);

const day = (at) => new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

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
