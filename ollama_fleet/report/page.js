"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const remember = (theme) => { try { localStorage.setItem("fleet-theme", theme); } catch { /* a file may not */ } };
  const remembered = () => { try { return localStorage.getItem("fleet-theme"); } catch { return null; } };
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const toggle = document.getElementById("theme");
  const label = () => { toggle.textContent = dark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`); };
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  toggle.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; remember(root.dataset.theme); label(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();

  const buttons = [...document.querySelectorAll("[data-show]")];
  const search = document.getElementById("search");
  const said = document.getElementById("shown");
  const hosts = [...document.querySelectorAll(".of-host")].map((box) => ({
    box, rows: [...box.querySelectorAll("tbody tr")].map((row) => ({ row, status: row.dataset.status, text: "" })),
  }));
  const texts = (host, item) => item.text ||= `${host.box.dataset.host} ${item.row.textContent}`.toLowerCase();
  const matches = (status, show) => show === "all" || status === "failed" || (show === "warning" && status === "warning");
  let show = document.querySelector("[data-show][aria-pressed=true]")?.dataset.show ?? "all";
  const filter = (byHand) => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const host of hosts) {
      let here = 0;
      for (const item of host.rows) {
        const fits = matches(item.status, show) && words.every((word) => texts(host, item).includes(word));
        item.row.hidden = !fits;
        here += fits;
      }
      host.box.hidden = here === 0;
      if (byHand && here && (words.length || show !== "all")) host.box.open = true;
      count += here;
    }
    said.textContent = `${count} shown`;
    document.getElementById("none").hidden = count > 0;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.show === show));
  };
  for (const button of buttons) button.addEventListener("click", () => { show = button.dataset.show; filter(true); });
  let waiting;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => filter(true), 80); });
  filter(false);

  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the old way below */ }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const done = await copy(button.previousElementSibling.textContent);
    button.textContent = done ? "copied" : "select it";
    button.focus();
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  for (const past of document.querySelectorAll(".past")) past.scrollLeft = past.scrollWidth;
  addEventListener("beforeprint", () => { for (const { box } of hosts) if (!box.hidden) box.open = true; });
})();
