import type { Context } from "hono";
import { bindings } from "../env.ts";
import { Problem } from "../problem.ts";

const TYPES: Record<string, string> = { js: "text/javascript", css: "text/css" };

/**
 * Answers a file that a page loads, of those that drizzle/assets.ts puts together; 404 where there is none. Browsers keep
 * it, and ask each time whether it is still the same. `path` comes from a list of what is meant to be served.
 */
export async function answerAsset(c: Context, path: string): Promise<Response> {
  const headers = new Headers();
  const ifNoneMatch = c.req.header("if-none-match");
  if (ifNoneMatch) headers.set("if-none-match", ifNoneMatch);
  const asset = await bindings.ASSETS.fetch(new URL(path, c.req.url), { headers });
  if (asset.status >= 400) throw new Problem("not_found");
  c.header("Content-Type", `${TYPES[path.slice(path.lastIndexOf(".") + 1)]}; charset=UTF-8`);
  c.header("Cache-Control", "no-cache");
  c.header("ETag", asset.headers.get("etag") ?? undefined);
  return asset.status === 304 ? c.body(null, 304) : c.body(asset.body ?? "");
}
