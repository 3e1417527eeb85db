/* What-if of a report: closed terms of the plan, recomputed in the page. Written without the
   characters that XML reserves, so that the page can be read back by any XML parser. */
"use strict";
const costsimWhatIf = (function () {
  // As the budget rounds: halves upward.
  function round(x) { return Math.floor(x + 0.5); }
  function answer(model, at) {
    let time = 1;
    if (model.amount) {
      time = Math.ceil(at.amount / model.per_step) / Math.ceil(model.amount / model.per_step);
    }
    if (model.months) { time = at.months / model.months; }
    if (model.mfu) { time = time * (model.mfu / (at.mfu / 100)); }
    const days = model.days * time, hours = model.device_hours * time;
    let above = 0;
    const cents = model.lines.map(function (line) {
      let found = line.cents;
      if (line.by === "hours") { found = round(line.quantity * time * at.price * 100); }
      // Part of a listed instance that is not used; a price that is stated is of devices alone.
      if (line.by === "idle") {
        found = at.price === line.usd ? round(line.quantity * time * at.price * 100) : 0;
      }
      if (line.by === "days") { found = round(line.quantity * time * line.usd * 100); }
      if (line.by === "above") { found = round(line.quantity * (above / 100) * 100); }
      above += found;
      return found;
    });
    const step = above >= 100000 ? 100 : 1;
    const usd = cents.reduce(function (sum, one) { return sum + round(one / step) * step; }, 0) / 100;
    const kwh = hours * model.power_w * at.pue / 1000;
    return { usd: usd, days: days, device_hours: hours, kwh: kwh, tonnes: kwh * at.grid / 1e6 };
  }
  function verdict(found, at) {
    const said = [];
    if (at.deadline > 0) {
      const late = found.days - at.deadline;
      said.push(late > 0 ? late.toFixed(1) + " days over the deadline"
        : "within the deadline, " + (-late).toFixed(1) + " days to spare");
    }
    if (at.budget > 0) {
      const over = found.usd - at.budget;
      said.push(over > 0 ? dollars(over) + " over the budget"
        : "within the budget, " + dollars(-over) + " to spare");
    }
    return said.length ? said.join("; ") + "." : "No deadline and no budget are stated.";
  }
  function dollars(usd) {
    const digits = usd >= 1000 ? 0 : 2;
    return "$" + usd.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  function number(x) {
    return x.toLocaleString("en-US", x >= 100 ? { maximumFractionDigits: 1 } : { maximumSignificantDigits: 3 });
  }
  function start() {
    const data = document.getElementById("what-if-terms"), form = document.getElementById("what-if");
    if (!data || !form) { return; }
    const model = JSON.parse(data.textContent), fields = Array.from(form.querySelectorAll("input"));
    const first = {};
    fields.forEach(function (field) { first[field.name] = field.value; });
    function read() {
      const at = {};
      let good = true;
      fields.forEach(function (field) {
        const optional = field.dataset.optional === "yes";
        // A field as it came holds the exact figure, however it is shown.
        at[field.name] = field.value === first[field.name] ? Number(field.dataset.exact || 0) : Number(field.value);
        const fine = Number.isFinite(at[field.name]) ? (optional ? at[field.name] >= 0 : at[field.name] > 0) : false;
        const low = Number(field.min || 0);
        const fits = fine ? (at[field.name] >= low || (optional ? field.value === "" : false)) : false;
        field.setAttribute("aria-invalid", fits ? "false" : "true");
        good = good ? fits : false;
      });
      return good ? at : null;
    }
    function show() {
      const at = read(), out = function (name, text) { document.getElementById("what-if-" + name).textContent = text; };
      if (!at) { out("verdict", "One of the values cannot be; it is marked."); return; }
      const found = answer(model, at);
      out("usd", dollars(found.usd)); out("days", number(found.days) + (found.days === 1 ? " day" : " days"));
      out("kwh", number(found.kwh / 1000) + " MWh"); out("tonnes", number(found.tonnes) + " t CO2e");
      out("verdict", verdict(found, at));
    }
    form.addEventListener("input", show);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function () { setTimeout(show, 0); });
    const at = read();
    // Terms that do not give the plan's own figure are not offered.
    if (!at || Math.abs(answer(model, at).usd - model.cost_usd) > 0.005) { return; }
    form.closest("section").hidden = false;
    show();
  }
  return { answer: answer, start: start };
}());
costsimWhatIf.start();
