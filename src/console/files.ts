import { createHash } from "node:crypto";
import uplot from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import style from "./client/console.client.css" with { type: "text" };
import actions from "./client/actions.client.js" with { type: "text" };
import api from "./client/api.client.js" with { type: "text" };
import archives from "./client/archives.client.js" with { type: "text" };
import cost from "./client/cost.client.js" with { type: "text" };
import csv from "./client/csv.client.js" with { type: "text" };
import dialog from "./client/dialog.client.js" with { type: "text" };
import elements from "./client/elements.client.js" with { type: "text" };
import erasures from "./client/erasures.client.js" with { type: "text" };
import events from "./client/events.client.js" with { type: "text" };
import figures from "./client/figures.client.js" with { type: "text" };
import form from "./client/form.client.js" with { type: "text" };
import frame from "./client/frame.client.js" with { type: "text" };
import heavy from "./client/heavy.client.js" with { type: "text" };
import limitFields from "./client/limit-fields.client.js" with { type: "text" };
import limits from "./client/limits.client.js" with { type: "text" };
import list from "./client/list.client.js" with { type: "text" };
import main from "./client/main.client.js" with { type: "text" };
import menu from "./client/menu.client.js" with { type: "text" };
import moves from "./client/moves.client.js" with { type: "text" };
import newTenant from "./client/new-tenant.client.js" with { type: "text" };
import operators from "./client/operators.client.js" with { type: "text" };
import plot from "./client/plot.client.js" with { type: "text" };
import self from "./client/self.client.js" with { type: "text" };
import setup from "./client/setup.client.js" with { type: "text" };
import signIn from "./client/sign-in.client.js" with { type: "text" };
import support from "./client/support.client.js" with { type: "text" };
import tenant from "./client/tenant.client.js" with { type: "text" };
import tenants from "./client/tenants.client.js" with { type: "text" };
import totals from "./client/totals.client.js" with { type: "text" };
import usage from "./client/usage.client.js" with { type: "text" };

/** Loaded with the page. They import each other by these names. */
const MODULES: Record<string, string> = {
  "actions.client.js": actions,
  "api.client.js": api,
  "archives.client.js": archives,
  "cost.client.js": cost,
  "csv.client.js": csv,
  "dialog.client.js": dialog,
  "elements.client.js": elements,
  "erasures.client.js": erasures,
  "events.client.js": events,
  "figures.client.js": figures,
  "form.client.js": form,
  "frame.client.js": frame,
  "heavy.client.js": heavy,
  "limit-fields.client.js": limitFields,
  "limits.client.js": limits,
  "list.client.js": list,
  "main.client.js": main,
  "menu.client.js": menu,
  "moves.client.js": moves,
  "new-tenant.client.js": newTenant,
  "operators.client.js": operators,
  "plot.client.js": plot,
  "self.client.js": self,
  "setup.client.js": setup,
  "sign-in.client.js": signIn,
  "support.client.js": support,
  "tenant.client.js": tenant,
  "tenants.client.js": tenants,
  "totals.client.js": totals,
  "usage.client.js": usage,
};

/** Without what is for whoever reads the file. */
const bare = (source: string) =>
  source.replaceAll(/^ *\/\*\*[^]*?\*\/\n/gm, "").replaceAll(/^ *\/\/.*\n/gm, "");

export const SCRIPTS = Object.keys(MODULES);
export const STYLESHEETS = ["uplot.css", "console.css"];

/** All files of the console by their names; uPlot is loaded by the first plot. */
export const FILES: ReadonlyMap<string, string> = new Map([
  ...Object.entries(MODULES).map(([name, source]): [string, string] => [name, bare(source)]),
  ["uplot.js", `${uplot}\nexport default uPlot;\n`],
  ["uplot.css", uplotStyle],
  ["console.css", style],
]);

/** Changes with any of the files, and is in their paths, so that each can be cached for good. */
export const VERSION = createHash("sha256")
  .update([...FILES.values()].join("\0"))
  .digest("hex")
  .slice(0, 12);
