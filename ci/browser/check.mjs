// Opens each page given on the command line at every width and colour scheme, and checks what a reader would trip over:
// sideways scrolling, messages on the console, and what axe-core calls serious or critical.
//
// CHROMIUM names the browser; SCREENSHOTS names a folder that pictures are written to.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const WIDTHS = [1280, 390];
const SCHEMES = ["light", "dark"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const pages = process.argv.slice(2);
if (pages.length === 0) {
  console.error("usage: node check.mjs PAGE.html...");
  process.exit(2);
}

const profile = mkdtempSync(join(tmpdir(), "trtgate-browser-"));
const failures = [];

/** Elements outside a scrolling region that reach past the right edge of the window. */
function overflowing() {
  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let parent = element.parentElement; parent; parent = parent.parentElement) {
      if (/auto|scroll|hidden/.test(getComputedStyle(parent).overflowX)) return true;
    }
    return false;
  };
  const wide = [...document.body.querySelectorAll("*")].filter(
    (element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element) && element.closest("svg") === null,
  );
  return {
    page: document.documentElement.scrollWidth - width,
    elements: wide.slice(0, 5).map((element) => `${element.tagName.toLowerCase()}.${element.className}`),
  };
}

/** The keyboard reaches the skip link first, and what it reaches shows an outline. */
async function checkKeyboard(page, fail) {
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => document.activeElement?.getAttribute("href"));
  if (first !== "#main") fail(`the first tab stop is ${first}, not the link to the results`);
  await page.keyboard.press("Tab");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  if (outline === "none") fail("the focus is not visible");
}

/** Every link inside the page leads to something that can be seen. */
async function checkFragments(page, fail) {
  const broken = await page.evaluate(() => {
    const targets = [...document.querySelectorAll("a[href^='#']")].map((link) => link.getAttribute("href").slice(1));
    return [...new Set(targets)].filter((target) => document.getElementById(target) === null);
  });
  if (broken.length > 0) fail(`links lead nowhere: ${broken.slice(0, 5).join(", ")}`);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--crash-dumps-dir=${profile}`,
  ],
});

for (const file of pages) {
  for (const width of WIDTHS) {
    for (const colorScheme of SCHEMES) {
      const name = `${basename(file)} at ${width} px, ${colorScheme}`;
      const fail = (message) => failures.push(`${name}: ${message}`);
      // The page forbids scripts; the checks are the one exception.
      const context = await browser.newContext({
        viewport: { width, height: 900 },
        colorScheme,
        bypassCSP: true,
        offline: true,
      });
      const page = await context.newPage();
      page.on("console", (message) => fail(`console ${message.type()}: ${message.text()}`));
      page.on("pageerror", (error) => fail(`page error: ${error.message}`));
      page.on("request", (request) => {
        if (!/^(file|data):/.test(request.url())) fail(`request to ${request.url()}`);
      });
      await page.goto(pathToFileURL(resolve(file)).href, { waitUntil: "load" });

      if (process.env.SCREENSHOTS) {
        const picture = `${basename(file, ".html")}-${width}-${colorScheme}.png`;
        await page.screenshot({ path: join(process.env.SCREENSHOTS, picture), fullPage: true });
      }
      await checkKeyboard(page, fail);
      await checkFragments(page, fail);
      // Closed panels are opened: what is in them must fit and be readable too. A handful stands for all.
      await page.evaluate(() => {
        [...document.querySelectorAll("details")].forEach((panel, index) => {
          panel.open = index < 8 || panel.open;
        });
      });
      const wide = await page.evaluate(overflowing);
      if (wide.page > 0 || wide.elements.length > 0) {
        fail(`scrolls sideways by ${wide.page} px: ${wide.elements.join(", ")}`);
      }
      await page.evaluate(axe);
      // All rules once a width; where only the colours differ, only their contrast. The other views of the matrix differ
      // from the first in their colours alone.
      const contrast = { type: "rule", values: ["color-contrast"] };
      const runs = [{ view: null, scope: "html", only: (width === 1280) === (colorScheme === "light") ? undefined : contrast }];
      if (width === 1280) {
        const views = await page.$$eval("input[name=view]", (inputs) => inputs.map((input) => input.id));
        runs.push(...views.slice(1).map((view) => ({ view, scope: ".matrix-section", only: contrast })));
      }
      for (const { view, scope, only } of runs) {
        if (view !== null) await page.check(`#${view}`, { force: true });
        const found = await page.evaluate(
          ([scope, runOnly]) => globalThis.axe.run(scope, { resultTypes: ["violations"], ...(runOnly && { runOnly }) }),
          [scope, only],
        );
        for (const violation of found.violations) {
          if (["serious", "critical"].includes(violation.impact)) {
            const nodes = violation.nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + (node.any[0]?.message ?? ""));
            fail(`axe ${violation.id} (${violation.impact}), view ${view}: ${violation.help}: ${nodes.join("; ")}`);
          }
        }
      }
      await context.close();
    }
  }
}

await browser.close();
rmSync(profile, { recursive: true, force: true });
if (failures.length > 0) {
  console.error(failures.join("\n"));
  process.exit(1);
}
console.log(`${pages.length} pages are in order at ${WIDTHS.join(" and ")} px, light and dark`);
