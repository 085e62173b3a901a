/** Stands in for "zod/v4/core" in the Worker's bundle (wrangler.toml), which that would make half as large again. */
export function toJSONSchema(): never {
  throw new Error("schemas are valibot here");
}
