// Asks the services how they are, every five seconds, and lets the reader ask a demo model.
// It asks its own origin only, and whatever comes back becomes text, never markup.

const EVERY_MS = 5000;
const PATIENCE_MS = 3000;
const NOTHING = "–";
const MAIN_SCORE = { classification: "accuracy", regression: "r2" };

const byId = (id) => document.getElementById(id);

const SERVICES = [
  { name: "api-server", card: byId("api-server"), base: "" },
  { name: "ml-service", card: byId("ml-service"), base: "/ml" },
];

/** Asks `path`. Never throws: `trouble` says in words why there is no `body`, the JSON of an answer of any status. */
async function ask(path, options = {}) {
  let status = 0;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(path, { cache: "no-store", ...options, signal });
    status = response.status;
    return { status, body: Object(await response.json()), trouble: "" };
  } catch (error) {
    return { status, body: {}, trouble: inWords(error, status) };
  }
}

/** The services speak JSON: another answer is of something in front of them. */
function inWords(error, status) {
  if (error.name === "TimeoutError") return `no answer within ${PATIENCE_MS / 1000} s`;
  return status ? `HTTP ${status} from the proxy` : "no connection";
}

/** A new element; children are elements or text. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

/** Sets a text only if it is another one: a screen reader would read it out again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Services ---

/** Shows how a service is, and returns it as a word: ok, not ready or unreachable. */
async function showService({ card, base }) {
  const [ready, live] = await Promise.all([ask(`${base}/health/ready`), ask(`${base}/health`)]);
  const isAlive = live.status === 200 && !live.trouble;
  const checks = Object.entries(ready.body.checks ?? {});
  const isKnown = checks.length > 0;
  let word = isKnown || isAlive ? "not ready" : "unreachable";
  if (isKnown && ready.status === 200) word = "ok";

  const state = card.querySelector(".state");
  state.className = `state ${word.replace(" ", "-")}`;
  say(state, word);
  say(card.querySelector(".version"), isAlive && live.body.version ? `version ${live.body.version}` : "");
  say(card.querySelector(".trouble"), isKnown ? "" : reason(ready, isAlive));
  if (isKnown) showChecks(card.querySelector(".checks"), checks);
  else forgetChecks(card.querySelector(".checks"));
  return word;
}

/** One line, so that it fits the place that the page keeps for it. */
function reason(ready, isAlive) {
  const why = ready.trouble || `HTTP ${ready.status} from the proxy`;
  return isAlive ? `It lives, but is it ready? ${why}.` : `Why: ${why}.`;
}

function showChecks(list, checks) {
  const rows = checks.map(([name, { ok, detail }]) =>
    make(
      "li",
      ok ? "ok" : "failing",
      make("b", "", name),
      " ",
      make("span", "word", ok ? "ok" : "failing"),
      " ",
      make("span", "detail", detail ?? NOTHING),
    ),
  );
  list.replaceChildren(...rows);
}

/** Nobody answers: the names stay, so that nothing moves. */
function forgetChecks(list) {
  for (const row of list.children) {
    row.className = "";
    say(row.querySelector(".word"), "unknown");
    say(row.querySelector(".detail"), NOTHING);
  }
}

async function showServices() {
  const words = await Promise.all(SERVICES.map(showService));
  const troubled = SERVICES.filter((_, i) => words[i] !== "ok").map(({ name }) => name);
  say(byId("summary"), troubled.length > 0 ? `Trouble with ${troubled.join(" and ")}.` : "All services are ready.");
  byId("checked-at").textContent = new Date().toLocaleTimeString();
}

// --- Numbers and models of ml-service ---

async function showStats() {
  const { body } = await ask("/ml/stats");
  const { total_requests: requests, success_rate: rate, latency } = body.global ?? {};
  say(byId("requests"), number(requests));
  say(byId("succeeded"), number(rate, { style: "percent", maximumFractionDigits: 1 }));
  say(byId("within"), number(latency?.p95, { style: "unit", unit: "millisecond", maximumFractionDigits: 2 }));
}

function number(value, format = { maximumFractionDigits: 3 }) {
  return typeof value === "number" ? value.toLocaleString(undefined, format) : NOTHING;
}

async function showModels() {
  const { body, trouble, status } = await ask("/ml/models");
  const rows = (body.models ?? []).map(modelRow);
  if (rows.length > 0) {
    byId("model-rows").replaceChildren(...rows);
    return;
  }
  const why = body.models ? "None: the demo models are switched off." : `Unknown: ${trouble || `HTTP ${status}`}.`;
  const cell = make("td", "", why);
  cell.colSpan = 4;
  byId("model-rows").replaceChildren(make("tr", "", cell));
}

function modelRow({ name, model_type: task, version, metrics }) {
  const score = MAIN_SCORE[task];
  const scored = typeof metrics?.[score] === "number" ? `${score} ${number(metrics[score])}` : NOTHING;
  const cells = [task ?? NOTHING, version ?? NOTHING, scored].map((text) => make("td", "", text));
  const heading = make("th", "", name);
  heading.scope = "row";
  return make("tr", "", heading, ...cells);
}

// --- Try it ---

async function predict(event) {
  event.preventDefault();
  const inputs = [...byId("try").querySelectorAll("input")].filter((input) => input.value !== "");
  const row = Object.fromEntries(inputs.map((input) => [input.name, input.valueAsNumber]));
  byId("predict").disabled = true;
  const began = performance.now();
  const answer = await ask("/ml/predict/demo_model_1", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ input_data: row, return_probabilities: true }),
  });
  const took = performance.now() - began;
  byId("predict").disabled = false;
  const isAnswered = answer.status === 200 && "prediction" in answer.body;
  byId("answer").replaceChildren(...(isAnswered ? prediction(answer.body, took) : problem(answer)));
}

function prediction({ prediction: label, probabilities, processing_time: ms }, took) {
  const bars = Object.entries(probabilities ?? {}).map(([each, share]) => {
    const bar = make("meter", "", number(share));
    bar.value = share;
    bar.ariaLabel = `probability of ${each}`;
    return make("li", "", make("b", "", each), bar, make("span", "", number(share)));
  });
  return [
    make("p", "", "prediction ", make("strong", "", String(label))),
    make("ul", "bars", ...bars),
    make("p", "muted", `${number(ms)} ms in the service, ${number(Math.round(took))} ms to this page and back`),
  ];
}

/** What a problem (RFC 9457) says, or why there is no answer at all. */
function problem({ status, body, trouble }) {
  if (trouble) return [make("p", "trouble", `ml-service gave no answer: ${trouble}.`)];
  const lines = (body.errors ?? []).map(({ field, code, hint }) =>
    make("li", "", make("code", "", field ?? ""), ` ${code}${hint ? `: ${hint}` : ""}`),
  );
  return [
    make("p", "trouble", `HTTP ${status} ${body.title ?? "without a prediction"}: ${body.detail ?? NOTHING}`),
    make("ul", "", ...lines),
    make("p", "muted", `request ${body.request_id ?? NOTHING}`),
  ];
}

// --- Start ---

function showAddresses() {
  for (const link of document.querySelectorAll("[data-port]")) {
    link.href = `http://${location.hostname}:${link.dataset.port}`;
  }
  for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
}

function refresh() {
  if (document.hidden) return;
  for (const show of [showServices, showStats, showModels]) show().catch(console.error);
}

showAddresses();
byId("try").addEventListener("submit", (event) => predict(event).catch(console.error));
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, EVERY_MS);
refresh();
