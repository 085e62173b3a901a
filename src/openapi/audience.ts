import * as v from "valibot";
import { GROUPS } from "./parts.ts";

/** Whom a document is for: whoever calls the API, or those who run the deployment. */
export type Audience = "everybody" | "operators";

const OPERATORS = "Operator";
const Document = v.looseObject({
  tags: v.array(v.looseObject({ name: v.string() })),
  paths: v.record(v.string(), v.record(v.string(), v.looseObject({ tags: v.tuple([v.string()]) }))),
  components: v.record(v.string(), v.record(v.string(), v.unknown())),
});

/** The part of the whole document that is for this audience, with the components that it refers to, grouped. */
export function partFor(audience: Audience, whole: unknown): object {
  const document = v.parse(Document, whole);
  const isTheirs = (tag: string) => (tag === OPERATORS) === (audience === "operators");
  const paths = Object.fromEntries(
    Object.entries(document.paths).flatMap(([path, item]) => {
      const kept = Object.entries(item).filter(([, { tags }]) => isTheirs(tags[0]));
      return kept.length > 0 ? [[path, Object.fromEntries(kept)]] : [];
    }),
  );
  const tags = document.tags.filter(({ name }) => isTheirs(name));
  const components = referredTo(paths, document.components);
  const groups = audience === "everybody" ? groupsOf(tags.map(({ name }) => name)) : undefined;
  const order = groups?.flatMap((group) => group.tags) ?? [];
  tags.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  return { ...document, tags, paths, components, ...(groups && { "x-tagGroups": groups }) };
}

function groupsOf(tags: string[]): { name: string; tags: string[] }[] {
  const grouped = new Set(Object.values(GROUPS).flat());
  return Object.entries(GROUPS).map(([name, own]) => ({
    name,
    tags: own.length > 0 ? own.filter((tag) => tags.includes(tag)) : tags.filter((tag) => !grouped.has(tag)),
  }));
}

type Components = v.InferOutput<typeof Document>["components"];

/** The components that the paths refer to, also by others; and the ways to sign in that they name. */
function referredTo(paths: object, components: Components): Components {
  const known = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if (!Array.isArray(value) && "security" in value && Array.isArray(value.security))
      for (const scheme of value.security.flatMap((each: object) => Object.keys(each)))
        known.add(`#/components/securitySchemes/${scheme}`);
    if ("$ref" in value && typeof value.$ref === "string" && !known.has(value.$ref)) {
      known.add(value.$ref);
      const [kind = "", name = ""] = value.$ref.slice("#/components/".length).split("/");
      visit(components[kind]?.[name]);
    }
    for (const part of Object.values(value)) visit(part);
  };
  visit(paths);
  return Object.fromEntries(
    Object.entries(components).map(([kind, all]) => [
      kind,
      Object.fromEntries(Object.entries(all).filter(([name]) => known.has(`#/components/${kind}/${name}`))),
    ]),
  );
}
