"use strict";
const $ = (id) => document.getElementById(id);
const FIELDS = ["tokens", "sequence", "batch", "devices", "rate", "input", "output", "tpot",
  "passes", "latency", "price", "budget", "deadline", "model", "kind", "system"];
let last = null;

function fromFields() {
  const kind = $("kind").value;
  const systems = [...$("system").selectedOptions].map((one) => one.value);
  const scenario = { name: `${$("model").value}, ${kind}`, model: $("model").value };
  const number = (id) => Number($(id).value);
  if (kind === "training") {
    scenario.workload = { kind, tokens: $("tokens").value, sequence: number("sequence"),
      global_batch: number("batch") };
  } else if (kind === "inference") {
    scenario.workload = { kind, requests_per_s: number("rate"), input_tokens: number("input"),
      output_tokens: number("output") };
    if ($("tpot").value.trim()) scenario.workload.slo = { tpot: $("tpot").value };
  } else {
    scenario.workload = { kind, requests_per_s: number("passes"), latency: $("latency").value };
  }
  scenario.hardware = { system: systems };
  if (kind === "training") scenario.hardware.devices = number("devices");
  if ($("price").value.trim()) scenario.price = $("price").value;
  const limits = {};
  if ($("budget").value.trim()) limits.cost = $("budget").value;
  if ($("deadline").value.trim()) limits.deadline = $("deadline").value;
  if (Object.keys(limits).length) scenario.limits = limits;
  return scenario;
}

function toFields(scenario) {
  const set = (id, value) => { if (value !== undefined) $(id).value = value; };
  const work = scenario.workload || {};
  set("kind", work.kind);
  if (typeof scenario.model === "string") set("model", scenario.model);
  const systems = [].concat((scenario.hardware || {}).system || []);
  for (const option of $("system").options) option.selected = systems.includes(option.value);
  set("tokens", work.tokens); set("sequence", work.sequence); set("batch", work.global_batch);
  set("devices", (scenario.hardware || {}).devices);
  set(work.kind === "forward" ? "passes" : "rate", work.requests_per_s);
  set("input", work.input_tokens); set("output", work.output_tokens);
  set("tpot", (work.slo || {}).tpot); set("latency", work.latency);
  if (typeof scenario.price === "string") set("price", scenario.price);
  set("budget", (scenario.limits || {}).cost); set("deadline", (scenario.limits || {}).deadline);
}

function showKind() {
  for (const set of document.querySelectorAll("fieldset[data-kind]")) {
    set.hidden = set.dataset.kind !== $("kind").value;
  }
}

function element(tag, text, parent, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  if (parent) parent.append(made);
  return made;
}

function short(value, unit) {
  if (unit === "usd") {
    return "$" + value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 2 : 0 });
  }
  if (unit === "days" && value < 2) { value *= 24; unit = "h"; }
  const digits = Math.abs(value) >= 1000 ? 0 : 3;
  return value.toLocaleString("en-US", digits ? { maximumSignificantDigits: 4 }
    : { maximumFractionDigits: 0 }) + (unit ? " " + unit : "");
}

const SHOWN = [["cost_usd", "cost", "usd"], ["days", "time", "days"],
  ["usd_per_hour", "an hour", "usd"], ["usd_per_m_tokens", "a million tokens", "usd"],
  ["replicas", "replicas", ""], ["devices", "devices", ""], ["step_time_s", "step", "s"],
  ["tokens_per_s", "throughput", "tokens/s"], ["mfu_ratio", "MFU", ""],
  ["energy_kwh", "energy", "kWh"], ["co2e_t", "emissions", "t CO2e"]];

function deviceName(id) {
  const option = [...$("system").options].find((one) => one.value === id);
  return option ? option.textContent : id;
}

function strategyText(one) {
  if (one.layout) return one.label;
  const at = one.strategy || {};
  const axes = ["tp", "pp", "vp", "cp", "ep", "dp"].filter((axis) => at[axis] > 1)
    .map((axis) => axis.toUpperCase() + at[axis]);
  if (at.zero) axes.push("ZeRO-" + at.zero);
  if (at.micro_batch) axes.push("micro-batch " + at.micro_batch);
  return axes.join(", ");
}

function showPlan(answer) {
  const into = $("answer"); into.replaceChildren();
  const best = answer.plan.best;
  element("h2", `${best.devices} × ${deviceName(best.accelerator)}`, into);
  if (strategyText(best)) element("p", strategyText(best), into);
  for (const text of answer.over_limits) element("p", text, into, "problem");
  const list = element("dl", undefined, into);
  for (const [key, label, unit] of SHOWN) {
    if (typeof best[key] !== "number") continue;
    const box = element("div", undefined, list);
    element("dt", label, box);
    const value = element("dd", short(best[key], unit), box);
    if (best.low && typeof best.low[key] === "number") {
      element("small", `${short(best.low[key], unit)} to ${short(best.high[key], unit)}`, value);
    }
  }
  if (answer.plan.candidates.length > 1) {
    const table = element("table", undefined, element("div", undefined, into, "scroll"));
    const head = element("tr", undefined, element("thead", undefined, table));
    const columns = SHOWN.filter(([key]) => answer.plan.candidates.some(
      (one) => typeof one[key] === "number")).slice(0, 5);
    for (const label of ["plan", "device"]) element("th", label, head).scope = "col";
    for (const [, label] of columns) element("th", label, head).scope = "col";
    const body = element("tbody", undefined, table);
    for (const one of answer.plan.candidates) {
      const row = element("tr", undefined, body);
      const name = element("th", one.label, row);
      name.scope = "row"; name.title = strategyText(one);
      element("td", deviceName(one.accelerator), row);
      for (const [key, , unit] of columns) {
        element("td", typeof one[key] === "number" ? short(one[key], unit) : "–", row);
      }
    }
  }
  $("report").srcdoc = answer.report; $("report").hidden = false; $("actions").hidden = false;
}

function showProblems(problems) {
  const into = $("answer"); into.replaceChildren();
  for (const one of problems) {
    const box = element("div", undefined, into, "problem");
    element("strong", one.message, box);
    if (one.location) element("div", one.location, box);
    if (one.hint) element("div", one.hint, box);
  }
  $("report").hidden = true; $("actions").hidden = true;
}

async function submit(event) {
  if (event) event.preventDefault();
  let scenario;
  try { scenario = JSON.parse($("scenario").value); } catch (error) {
    showProblems([{ message: "the scenario is no JSON", hint: String(error.message) }]); return;
  }
  $("status").textContent = "planning…";
  const began = performance.now();
  try {
    const response = await fetch("/api/plan", { method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ scenario, report: true }) });
    const answer = await response.json();
    if (!response.ok) { last = null; showProblems(answer.problems); } else {
      last = { scenario, answer };
      showPlan(answer);
      history.replaceState(null, "", "#scenario=" + encodeURIComponent(JSON.stringify(scenario)));
    }
    $("status").textContent = `${((performance.now() - began) / 1000).toFixed(2)} s`;
  } catch (error) {
    $("status").textContent = "";
    showProblems([{ message: "the server does not answer", hint: String(error.message) }]);
  }
}

function yaml(value, indent = "") {
  if (Array.isArray(value)) return JSON.stringify(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (!Object.keys(value).length) return "{}";
  return Object.entries(value).map(([key, inner]) => {
    const name = /^[A-Za-z_]\w*$/.test(key) ? key : JSON.stringify(key);
    const nested = inner !== null && typeof inner === "object" && !Array.isArray(inner)
      && Object.keys(inner).length;
    return `${indent}${name}:${nested ? "\n" : " "}${yaml(inner, indent + "  ")}`;
  }).join("\n");
}

function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

async function start() {
  const [models, hardware] = await Promise.all(
    ["/api/models", "/api/hardware"].map((path) => fetch(path).then((reply) => reply.json())));
  for (const name of models.models) element("option", undefined, $("models")).value = name;
  for (const device of hardware.accelerators) {
    const option = element("option", device.name, $("system"));
    option.value = device.id;
    option.selected = device.id === "nvidia-h100-sxm5-80gb";
  }
  const shared = /^#scenario=(.*)$/.exec(location.hash);
  if (shared) {
    try {
      const scenario = JSON.parse(decodeURIComponent(shared[1]));
      toFields(scenario); showKind();
      $("scenario").value = JSON.stringify(scenario, null, 2);
      await submit();
      return;
    } catch (error) {
      showProblems([{ message: "the link holds no scenario", hint: String(error.message) }]);
    }
  }
  showKind();
  $("scenario").value = JSON.stringify(fromFields(), null, 2);
}

for (const id of FIELDS) {
  $(id).addEventListener("input", () => {
    showKind();
    $("scenario").value = JSON.stringify(fromFields(), null, 2);
  });
}
$("form").addEventListener("submit", submit);
$("share").addEventListener("click", async () => {
  await navigator.clipboard.writeText(location.href);
  $("status").textContent = "the link is copied; it holds the whole scenario";
});
$("save-scenario").addEventListener("click", () =>
  save("scenario.yaml", yaml(last.scenario) + "\n", "application/yaml"));
$("save-report").addEventListener("click", () =>
  save("report.html", last.answer.report, "text/html"));
start();
