import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { requestPicture } from "./request.ts";
import { THEMES } from "./svg.ts";
import { record, tourPicture, type Scene } from "./tour.ts";

// `node test/pictures/main.ts` draws README's pictures into docs/images/. With `--record http://127.0.0.1:8787` it first does
// the tour, which needs a fresh `npm run dev`. `--check` fails when the pictures are not what it would draw.

const root = join(import.meta.dirname, "../..");
const images = join(root, "docs/images");
const recording = join(import.meta.dirname, "tour.json");

const { values } = parseArgs({
  options: { record: { type: "string" }, check: { type: "boolean", default: false } },
});
if (values.record !== undefined)
  writeFileSync(recording, `${JSON.stringify(record(values.record, root), null, 2)}\n`);

const scenes = JSON.parse(readFileSync(recording, "utf8")) as Scene[];
for (const theme of THEMES)
  for (const [name, drawn] of [
    [`request-${theme}.svg`, requestPicture(theme)],
    [`tour-${theme}.svg`, tourPicture(scenes, theme)],
  ] as const) {
    const file = join(images, name);
    if (!values.check) writeFileSync(file, drawn);
    else if (!existsSync(file) || readFileSync(file, "utf8") !== drawn) {
      console.error(`docs/images/${name} is not what is drawn: run node test/pictures/main.ts`);
      process.exitCode = 1;
    }
  }
