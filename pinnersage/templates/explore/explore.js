// Explore: one user's clusters, regrouped wherever the α line stands, how they stand now, what they
// bring, and what changed. One answer of the service holds all of it; moving α asks nothing. What the answer says
// is text: it never becomes markup.

const SHOWN_STRIPS = 30;
const SHOWN_PINS = 24;
const STEPS = 100; // arrow keys that the whole height takes
const HUES = 8;

const byId = (id) => document.getElementById(id);
const state = { answer: null, tree: null, alpha: 0, all: false, asked: null };

// ---- words and elements -----------------------------------------------------------------------

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children); // strings become text
  return element;
}

const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const percent = (share) => (share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);
const number = (value) => Number(value.toPrecision(3)).toString();

function ago(days) {
  if (days < 1) return "less than a day ago";
  return `${count(Math.floor(days), "day")} ago`;
}

// ---- the tree: leaves are 0 .. k - 1, merge i makes node k + i ----------------------------------

function grow({ tree, merge_threshold: published, day }) {
  const k = tree.leaves.length;
  const end = Date.parse(`${day}T00:00:00Z`) + 86_400_000;
  const nodes = tree.leaves.map((leaf, i) => ({
    ...leaf, height: 0, children: null, leaves: [i], medoid: tree.medoids[i],
    oldest_days: (end - Date.parse(leaf.first_acted_at.replace(" ", "T"))) / 86_400_000,
  }));
  tree.merges.forEach(([a, b, height], i) => {
    const [x, y] = [nodes[a], nodes[b]];
    nodes.push({
      height,
      children: x.importance >= y.importance ? [a, b] : [b, a],
      leaves: x.leaves.concat(y.leaves),
      medoid: tree.medoids[k + i],
      importance: x.importance + y.importance,
      n_actions: x.n_actions + y.n_actions,
      n_pins: x.n_pins + y.n_pins,
      age_days: Math.min(x.age_days, y.age_days),
      oldest_days: Math.max(x.oldest_days, y.oldest_days),
    });
  });
  const least = tree.leaf_height;
  const top = Math.max(nodes.at(-1).height, published, least) * 1.08 || 1;
  return { nodes, k, least, top, published, places: places(nodes) };
}

// From left to right, the heavier side of each merge first.
function places(nodes) {
  const x = new Array(nodes.length);
  const stack = [nodes.length - 1];
  const order = [];
  let next = 0;
  while (stack.length) {
    const node = stack.pop();
    order.push(node);
    const { children } = nodes[node];
    if (children) stack.push(children[1], children[0]);
    else x[node] = next++ + 0.5;
  }
  for (const node of order.reverse()) {
    const { children } = nodes[node];
    if (children) x[node] = (x[children[0]] + x[children[1]]) / 2;
  }
  return x;
}

// The nodes that are clusters at α, most important first. A cluster whose medoid is blocked has none.
function cut({ nodes }, alpha) {
  const found = [];
  const stack = [nodes.length - 1];
  while (stack.length) {
    const node = stack.pop();
    if (nodes[node].children && nodes[node].height > alpha) stack.push(...nodes[node].children);
    else found.push(node);
  }
  const order = (a, b) =>
    nodes[b].importance - nodes[a].importance || nodes[a].age_days - nodes[b].age_days || a - b;
  return found.sort(order);
}

// The line moves on the fourth root of d, where merges lie more evenly. Shares of the height.
const root = (d) => d ** 0.25;
const place = ({ least, top }, d) => (root(d) - root(least)) / (root(top) - root(least));
const height = ({ least, top }, share) => (root(least) + share * (root(top) - root(least))) ** 4;

// ---- pins ---------------------------------------------------------------------------------------

function titleOf(id) {
  const pin = state.pins.get(id);
  return pin?.title || id;
}

function card(id, { className = "", note = "", mark = "" } = {}) {
  const title = titleOf(id);
  const text = make("div", "text", make("b", "", title));
  const small = make("small");
  if (mark) small.append(make("b", "", mark), note ? ` · ${note}` : "");
  else small.append(note);
  if (mark || note) text.append(small);
  const item = make("li", `pin ${className}`, text);
  item.title = title === id ? id : `${title} (${id})`;
  const url = state.pins.get(id)?.image_url ?? "";
  if (/^https?:\/\//i.test(url)) item.prepend(picture(url, title, item));
  else item.classList.add("plain-face");
  return item;
}

function picture(url, title, item) {
  const image = document.createElement("img");
  image.addEventListener("error", () => {
    image.remove();
    item.classList.add("plain-face");
  });
  image.loading = "lazy";
  image.decoding = "async";
  image.referrerPolicy = "no-referrer";
  image.alt = title;
  image.src = url;
  return image;
}

function strip(label, cards) {
  const list = make("ul", "plain strip", ...cards);
  list.tabIndex = 0;
  list.setAttribute("aria-label", label);
  return list;
}

// ---- clusters -----------------------------------------------------------------------------------

function group(node, rank, largest, total) {
  const { nodes } = state.tree;
  const cluster = nodes[node];
  const title = titleOf(cluster.medoid);
  const spanned = cluster.n_actions > 1 && cluster.oldest_days - cluster.age_days >= 1;
  const facts = [
    `importance ${number(cluster.importance)} (${percent(cluster.importance / total)})`,
    `${count(cluster.n_actions, "action")} on ${count(cluster.n_pins, "pin")}`,
    `last ${ago(cluster.age_days)}${spanned ? `, first ${ago(cluster.oldest_days)}` : ""}`,
  ];
  const bar = make("i");
  bar.style.width = `${(100 * cluster.importance) / largest}%`;
  const meter = make("div", "meter", bar);
  meter.setAttribute("aria-hidden", "true");
  const head = make("div", "head", make("span", "number", `${rank + 1}`),
    make("div", "", make("h3", "", title), make("p", "facts", facts.join(" · ")), meter));
  return make("li", `group h${rank % HUES}`, head, strip(`Pins of cluster ${rank + 1}`, members(cluster)));
}

// The medoid, then the others, last acted on first.
function members(cluster) {
  const { nodes } = state.tree;
  const others = cluster.leaves
    .filter((leaf) => nodes[leaf].medoid !== cluster.medoid && nodes[leaf].medoid !== null)
    .sort((a, b) => nodes[a].age_days - nodes[b].age_days || a - b);
  const own = cluster.leaves.find((leaf) => nodes[leaf].medoid === cluster.medoid);
  const cards = [card(cluster.medoid, {
    className: "medoid", mark: "medoid", note: own === undefined ? "" : noteOf(nodes[own]),
  })];
  for (const leaf of others.slice(0, SHOWN_PINS - 1)) {
    cards.push(card(nodes[leaf].medoid, { note: noteOf(nodes[leaf]) }));
  }
  const hidden = others.length - (cards.length - 1);
  if (hidden > 0) cards.push(make("li", "rest", `and ${hidden.toLocaleString("en")} more`));
  return cards;
}

function noteOf(leaf) {
  if (leaf.n_pins > 1) return `+${leaf.n_pins - 1} alike`;
  return leaf.n_actions > 1 ? `${leaf.n_actions}×` : "";
}

function drawStrips() {
  const { tree, alpha } = state;
  const every = cut(tree, alpha);
  const clusters = every.filter((node) => tree.nodes[node].medoid !== null);
  const total = clusters.reduce((sum, node) => sum + tree.nodes[node].importance, 0);
  const largest = clusters.length ? tree.nodes[clusters[0]].importance : 1;
  const shown = state.all ? clusters : clusters.slice(0, SHOWN_STRIPS);
  byId("strips").replaceChildren(
    ...shown.map((node, rank) => group(node, rank, largest, total)));
  byId("more").hidden = shown.length === clusters.length;
  byId("more").textContent = `Show the other ${clusters.length - shown.length}`;
  byId("clusters-title").textContent = count(clusters.length, "cluster");
  const hidden = every.length - clusters.length;
  const where = alpha === tree.published ? "As published: " : "Regrouped here, not published: ";
  byId("clusters-lead").textContent =
    `${where}α = ${number(alpha)}. Outlined is the medoid, the pin that stands for its cluster; ` +
    "importance is the sum of exp(−λ·age) over the cluster's actions." +
    (hidden ? ` ${count(hidden, "cluster is", "clusters are")} not shown: the medoid is taken down.` : "");
  return clusters;
}

// ---- the dendrogram -----------------------------------------------------------------------------

function svg(tag, className, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  element.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function drawBranches(clusters) {
  const { nodes, k, places: at } = state.tree;
  const x = (node) => (1000 * at[node]) / k;
  const y = (d) => 985 * (1 - Math.max(0, place(state.tree, d)));
  const arch = ({ height: d, children: [a, b] }) =>
    `M${x(a)} ${y(nodes[a].height)}V${y(d)}H${x(b)}V${y(nodes[b].height)}`;
  const inside = new Set();
  const parts = clusters.map((cluster, rank) => {
    const stack = [cluster];
    let path = "";
    while (stack.length) {
      const node = stack.pop();
      inside.add(node);
      if (!nodes[node].children) continue;
      path += arch(nodes[node]);
      stack.push(...nodes[node].children);
    }
    const span = nodes[cluster].leaves.map(x);
    const left = Math.min(...span) - 500 / k;
    const gap = Math.min(3, 300 / k);
    return [
      svg("path", `cluster h${rank % HUES}`, { d: path || `M${x(cluster)} 985V${y(state.alpha)}` }),
      svg("rect", `h${rank % HUES}`, {
        x: left + gap, y: 990, height: 14, width: (1000 * span.length) / k - 2 * gap,
      }),
    ];
  });
  const above = nodes.filter((node, i) => node.children && !inside.has(i)).map(arch).join("");
  byId("branches").replaceChildren(svg("path", "", { d: above }), ...parts.flat());
}

function drawTicks() {
  const { tree } = state;
  const ticks = [];
  let last = -1;
  for (const d of [0, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]) {
    if (d < tree.least || d > tree.top || place(tree, d) - last < 0.07) continue;
    last = place(tree, d);
    const tick = make("span", "tick", `${d}`);
    tick.style.top = `${98.5 * (1 - last)}%`;
    ticks.push(tick);
  }
  const line = make("div", "published");
  line.style.top = `${98.5 * (1 - place(tree, Math.max(tree.published, tree.least)))}%`;
  byId("ticks").replaceChildren(...ticks, line);
}

function moveTo(alpha) {
  const { tree } = state;
  state.alpha = Math.min(tree.top, Math.max(tree.least, alpha));
  const clusters = drawStrips();
  drawBranches(clusters);
  const slider = byId("alpha");
  const said = `α ${number(state.alpha)}`;
  slider.style.top = `${98.5 * (1 - place(tree, state.alpha))}%`;
  slider.setAttribute("aria-valuenow", state.alpha);
  slider.setAttribute("aria-valuemin", tree.least);
  slider.setAttribute("aria-valuemax", tree.top);
  slider.setAttribute("aria-valuetext", `${said}, ${count(clusters.length, "cluster")}`);
  byId("alpha-text").textContent = said;
  const published = Math.max(tree.published, tree.least);
  byId("chart").classList.toggle("at-published", state.alpha === published);
  byId("reset").hidden = state.alpha === published;
}

function moveBy(steps) {
  moveTo(height(state.tree, Math.min(1, Math.max(0, place(state.tree, state.alpha) + steps / STEPS))));
}

function pressed(event) {
  const { tree } = state;
  const moves = {
    ArrowUp: () => moveBy(1), ArrowRight: () => moveBy(1),
    ArrowDown: () => moveBy(-1), ArrowLeft: () => moveBy(-1),
    PageUp: () => moveBy(10), PageDown: () => moveBy(-10),
    Home: () => moveTo(tree.least), End: () => moveTo(tree.top),
  };
  if (!moves[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  moves[event.key]();
}

function dragged(event) {
  const box = byId("branches").getBoundingClientRect();
  const share = 1 - (event.clientY - box.top) / (0.985 * box.height);
  moveTo(height(state.tree, Math.min(1, Math.max(0, share))));
}

function startDrag(event) {
  const slider = byId("alpha");
  if (event.button !== 0 || (event.pointerType !== "mouse" && !slider.contains(event.target))) return;
  event.preventDefault();
  slider.focus({ preventScroll: true });
  const chart = byId("chart");
  chart.setPointerCapture(event.pointerId);
  if (!slider.contains(event.target)) dragged(event);
  chart.addEventListener("pointermove", dragged);
  const stop = () => chart.removeEventListener("pointermove", dragged);
  chart.addEventListener("pointerup", stop, { once: true });
  chart.addEventListener("pointercancel", stop, { once: true });
}

// ---- as of now: the release, and what came since ------------------------------------------------

const CAME_FROM = { online: "new", both: "grown", batch: "as before" };

function drawNow({ since }) {
  byId("now").hidden = !since;
  if (!since) return;
  const n = (what) => since.clusters.filter((cluster) => cluster.from === what).length;
  const when = `since the end of the release's day, ${since.since} (UTC), as of ${since.now}`;
  const left = since.left_out
    ? ` ${count(since.left_out, "action")} more ${since.left_out === 1 ? "does" : "do"} not count: ` +
      "the pin is taken down, or has no embedding in this release."
    : "";
  byId("now-lead").textContent = !since.answered
    ? `What was done ${when}, cannot be told: the online states do not answer. The release alone is served.`
    : since.actions.length
      ? `${count(since.actions.length, "action")} ${when}: ${count(n("online"), "new cluster")}, ` +
        `${n("both")} grown, ${n("batch")} as before. This is what is served now.${left}`
      : `No action that counts ${when}: what is served is what was published.${left}`;
  const titles = new Map(since.clusters.map((cluster) => [cluster.rank, cluster]));
  const changed = since.clusters.filter((cluster) => cluster.from !== "batch");
  const same = since.actions.length ? since.clusters.filter((cluster) => cluster.from === "batch") : [];
  byId("changed").replaceChildren(...changed.map((cluster) => changedGroup(cluster, since)));
  const details = byId("as-before");
  details.hidden = !same.length;
  details.querySelector("summary").textContent = `${count(same.length, "cluster")} as before, but for the passing of time`;
  details.querySelector("ul").replaceChildren(...same.map((cluster) =>
    make("li", "", make("span", "tag same", `${cluster.rank + 1}`), make("span", "", titleOf(cluster.pin_id)),
      make("span", "numbers", shares(cluster)))));
  byId("did-title").hidden = !since.actions.length;
  byId("did").replaceChildren(...since.actions.map((action) => {
    const cluster = titles.get(action.cluster);
    const where = cluster
      ? `→ cluster ${cluster.rank + 1}, “${titleOf(cluster.pin_id)}”, ${CAME_FROM[cluster.from]}`
      : "→ a cluster that is not shown";
    return make("li", "", make("span", "numbers", action.acted_at.slice(0, 16)),
      make("span", "", titleOf(action.pin_id)), make("span", "numbers", where));
  }));
}

const shares = ({ was, share }) => `${percent(was.share)} → ${percent(share)} of the importance`;

function changedGroup(cluster, since) {
  const { was, n_new: added, rank } = cluster;
  const facts = was
    ? [`${was.n_actions} → ${count(cluster.n_actions, "action")}`, shares(cluster),
      ...(was.pin_id === cluster.pin_id ? [] : [`the medoid was “${titleOf(was.pin_id)}”`])]
    : [`${count(added, "action")}, all of them since`, `${percent(cluster.share)} of the importance`];
  const what = CAME_FROM[cluster.from];
  const title = make("h3", "", `${titleOf(cluster.pin_id)} `, make("span", `tag ${what}`, what));
  const head = make("div", "head", make("span", "number", `${rank + 1}`),
    make("div", "", title, make("p", "facts", facts.join(" · "))));
  const times = new Map();
  for (const { cluster: at, pin_id: pin, acted_at: time } of since.actions) {
    if (at === rank) times.set(pin, [...(times.get(pin) ?? []), time.slice(11, 16)]);
  }
  const note = (pin) => (times.has(pin) ? `acted on ${times.get(pin).reverse().join(", ")}` : "");
  const others = [...times.keys()].filter((pin) => pin !== cluster.pin_id);
  const cards = [card(cluster.pin_id, { className: "medoid", mark: "medoid", note: note(cluster.pin_id) }),
    ...others.map((pin) => card(pin, { note: note(pin) }))];
  return make("li", `group h${rank % HUES}`, head, strip(`Since then in cluster ${rank + 1}`, cards));
}

// ---- recommendations ----------------------------------------------------------------------------

// How the medoids were chosen, by what the settings say.
const CHOSEN = {
  equal: (draw) => `sampled in proportion to importance (draw ${draw})`,
  proportional: () => "asked, each for a share in proportion to its importance",
  round_robin: () => "asked in turns, the most important first",
};

function drawRows({ recommendations: made, since, clusters: published, index }) {
  const clusters = since?.clusters ?? published;
  byId("another").hidden = made?.allocation !== "equal";
  if (!made) {
    byId("rows-lead").textContent = "The live release has no index yet, so there is nothing to recommend.";
    byId("rows").replaceChildren();
    return;
  }
  byId("rows-lead").textContent =
    `${count(made.n_medoids, "medoid")} ${CHOSEN[made.allocation](state.answer.draw)}; ` +
    `${count(made.n_candidates, "candidate")} in all from index ${index}. ` +
    "A pin that several medoids bring stands with one of them." +
    (made.n_medoids > made.rows.length ? ` Shown are the first ${made.rows.length}.` : "");
  byId("rows").replaceChildren(...made.rows.map((row) => {
    const cluster = clusters.find((one) => one.pin_id === row.medoid);
    const rank = cluster?.rank ?? -1;
    const title = titleOf(row.medoid);
    const cards = row.candidates.map((found) =>
      card(found.pin_id, { note: `cosine ${found.cosine.toFixed(3)}` }));
    const hidden = row.n_candidates - row.candidates.length;
    if (hidden > 0) cards.push(make("li", "rest", `and ${hidden} more`));
    const why = `${count(row.n_candidates, "pin")} nearest to this medoid` +
      (rank < 0 ? "" : ` of cluster ${rank + 1} (${percent(cluster.share)} of the importance)`) +
      (row.from === "batch" ? "" : `, ${CAME_FROM[row.from]} since the release`) +
      (row.searched ? ", searched for now" : ", remembered from an earlier search");
    const head = make("div", "head", make("span", "number", rank < 0 ? "–" : `${rank + 1}`),
      make("div", "", make("h3", "", `Because of “${title}”`), make("p", "facts", why)));
    const medoid = card(row.medoid, { className: "medoid", mark: "medoid" });
    return make("li", `group h${Math.max(0, rank) % HUES}`, head,
      strip(`Recommended because of ${title}`, [medoid, ...cards]));
  }));
}

// ---- today against yesterday --------------------------------------------------------------------

function changes({ clusters, yesterday }) {
  const found = clusters.map((cluster, rank) => {
    const before = yesterday.clusters.filter((other) => other.now === rank);
    const actions = before.reduce((sum, other) => sum + other.n_actions, 0);
    const share = before.reduce((sum, other) => sum + other.share, 0);
    let what = "new";
    if (before.length) {
      what = cluster.n_actions > actions ? "grown" : cluster.n_actions < actions ? "shrunk" : "same";
    }
    const numbers = before.length
      ? `${actions} → ${count(cluster.n_actions, "action")} · ${percent(share)} → ${percent(cluster.share)}`
      : `${count(cluster.n_actions, "action")} · ${percent(cluster.share)}`;
    const joined = before.length > 1 ? ` (${before.length} of yesterday's in one)` : "";
    return { what, pin: cluster.pin_id, numbers: numbers + joined };
  });
  const gone = yesterday.clusters.filter((other) => other.now === null).map((other) => ({
    what: "gone", pin: other.pin_id, numbers: `${count(other.n_actions, "action")} · ${percent(other.share)}`,
  }));
  return [...found, ...gone];
}

function drawDays(answer) {
  const details = byId("unchanged");
  details.hidden = true;
  byId("days").replaceChildren();
  if (!answer.yesterday) {
    byId("days-lead").textContent = "No day before this one is in the lake.";
    return;
  }
  const found = changes(answer);
  const row = ({ what, pin, numbers }) =>
    make("li", "", make("span", `tag ${what}`, what), make("span", "", titleOf(pin)), make("span", "numbers", numbers));
  const n = (what) => found.filter((change) => change.what === what).length;
  const other = answer.yesterday.embeddings !== answer.embeddings;
  byId("days-lead").textContent =
    `${answer.day} against ${answer.yesterday.day}: ${n("new")} new, ${n("gone")} gone, ${n("grown")} grown, ` +
    `${n("shrunk")} shrunk. A cluster is the same as yesterday's if it holds yesterday's medoid; ` +
    "then actions and share of importance, before → now." +
    (other ? " The two days were made with different embeddings." : "");
  const order = ["new", "gone", "grown", "shrunk"];
  byId("days").replaceChildren(...order.flatMap((what) => found.filter((c) => c.what === what).map(row)));
  const same = found.filter((change) => change.what === "same");
  if (!same.length) return;
  details.hidden = false;
  details.open = same.length === found.length && same.length <= 10;
  details.querySelector("summary").textContent = `${count(same.length, "cluster")} with as many actions as before`;
  details.querySelector("ul").replaceChildren(...same.map(row));
}

// ---- asking -------------------------------------------------------------------------------------

function show(answer) {
  state.answer = answer;
  state.pins = new Map(Object.entries(answer.pins));
  state.tree = answer.tree && grow(answer);
  state.all = false;
  byId("name").textContent = `User ${answer.user_id}`;
  byId("facts").textContent = answer.tree === null
    ? `Not in release ${answer.release} of ${answer.day}: all that is known was done since.`
    : `${count(answer.n_actions, "action")} on ${count(answer.n_pins, "pin")} in the ${answer.window_days} days ` +
    `to the end of ${answer.day} (UTC) · release ${answer.release} · embeddings ${answer.embeddings}`;
  byId("warning").hidden = answer.as_served;
  byId("warning").textContent =
    "What is drawn here is not what is served: the model's settings have changed since this release was made.";
  byId("released").hidden = byId("compared").hidden = !answer.tree;
  if (answer.tree) drawReleased(answer);
  drawNow(answer);
  drawRows(answer);
}

function drawReleased(answer) {
  byId("tree-note").textContent = state.tree.least > 0
    ? `This user has many pins: those that merge below α = ${number(state.tree.least)} are drawn as one.` +
      (state.tree.least > state.tree.published ? ` The published α is ${number(state.tree.published)}.` : "")
    : "";
  byId("reset").textContent = `Back to α ${number(Math.max(state.tree.published, state.tree.least))}`;
  drawTicks();
  moveTo(answer.merge_threshold);
  drawDays(answer);
}

// What is said is read out; only what is wrong, or not there yet, is also seen.
function say(kind, ...words) {
  byId("status").className = kind;
  byId("status").replaceChildren(...words);
}

async function reason(response, user) {
  if (response.status === 401) {
    const link = make("a", "", "Log in");
    link.href = "/login";
    return [link, " to look at users."];
  }
  const body = await response.json().catch(() => ({}));
  const says = typeof body?.error === "string" ? body.error : "";
  if (response.status === 404) return [says || `There is no user ${user}.`];
  if (response.status === 503) return [says || "The service is busy. Try again in a moment."];
  return [`The service answered ${response.status}. ${says}`];
}

async function ask(user, draw) {
  state.asked?.abort();
  const asked = (state.asked = new AbortController());
  const result = byId("result");
  result.classList.add("stale");
  say("", `Looking at ${user} …`);
  const query = new URLSearchParams({ user, draw });
  let answer = null;
  let words = [];
  try {
    const response = await fetch(`/v1/explore?${query}`, { credentials: "same-origin", signal: asked.signal });
    if (response.ok) answer = await response.json();
    else words = await reason(response, user);
  } catch (error) {
    if (asked.signal.aborted) return;
    console.error(error);
    words = ["The service cannot be reached. Is it running, and are you on its network?"];
  }
  if (asked.signal.aborted) return;
  if (answer) say("said", `User ${answer.user_id}, ${count((answer.since?.clusters ?? answer.clusters).length, "cluster")}`);
  else say("error", ...words);
  result.classList.remove("stale");
  result.hidden = answer === null;
  if (answer) show(answer);
}

function go(user, draw, remember) {
  byId("user").value = user;
  byId("draw").value = draw;
  if (remember) history.pushState(null, "", `?${new URLSearchParams({ user, draw })}`);
  document.title = `${user} · PinnerSage`;
  ask(user, draw);
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  if (asked.get("user")) go(asked.get("user"), asked.get("draw") ?? "0", false);
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  go(byId("user").value.trim(), byId("draw").value, true);
});
byId("another").addEventListener("click", () => go(state.answer.user_id, `${state.answer.draw + 1}`, true));
byId("reset").addEventListener("click", () => { moveTo(state.tree.published); byId("alpha").focus(); });
byId("more").addEventListener("click", () => { state.all = true; moveTo(state.alpha); });
byId("alpha").addEventListener("keydown", pressed);
byId("chart").addEventListener("pointerdown", startDrag);
window.addEventListener("popstate", fromAddress);
fromAddress();
