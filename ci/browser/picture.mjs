// picture.mjs PAGE.html OUT.png WIDTH SCHEME [LAST]: the top of a page as a picture, in one colour scheme.
//
// The picture ends below the element that LAST, a selector, finds last; without it, at the end of the page.
// CHROMIUM names the browser.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [page, out, width, colorScheme, last] = process.argv.slice(2);
if (colorScheme === undefined) {
  console.error("usage: node picture.mjs PAGE.html OUT.png WIDTH light|dark [LAST]");
  process.exit(2);
}
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});
const context = await browser.newContext({ viewport: { width: Number(width), height: 900 }, colorScheme, offline: true });
const tab = await context.newPage();
await tab.goto(pathToFileURL(resolve(page)).href, { waitUntil: "load" });
const whole = await tab.evaluate(() => document.documentElement.scrollHeight);
const box = last === undefined ? null : await tab.locator(last).last().boundingBox();
const height = box === null ? whole : Math.ceil(box.y + box.height) + 12;
await tab.screenshot({ path: out, fullPage: true, clip: { x: 0, y: 0, width: Number(width), height } });
await browser.close();
