import { VALUES, type Schema } from "./parts.ts";

// Realistic values, put together from what schemas and the names of their members say.

const FORMATS: Record<string, unknown> = {
  uuid: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
  uri: "https://id.acme.test",
  email: "grace@acme.test",
  date: "2026-12-24",
  "date-time": "2026-11-23T09:30:00.000Z",
};

/** A value that fits the schema of the member `name`; `known` are the document's named schemas. It contains each member. */
export function exampleOf(schema: Schema, known: Record<string, Schema>, name = ""): unknown {
  const { $ref, allOf, anyOf, oneOf, examples, enum: choices, items, properties, type, format } = schema;
  if (typeof $ref === "string") {
    const referred = $ref.replace(/^#\/(components\/schemas|\$defs)\//, "");
    return exampleOf(known[referred] ?? {}, known, name);
  }
  if (Array.isArray(examples)) return examples[0];
  if (type === "null") return null;
  if ("const" in schema) return schema["const"];
  if (Array.isArray(choices)) return choices[0];
  if (Array.isArray(allOf))
    return Object.assign({}, ...allOf.map((part: Schema) => exampleOf(part, known, name)));
  const [first] = [anyOf ?? oneOf ?? []].flat();
  if (first) return exampleOf(first as Schema, known, name);
  if (type === "array") return items ? [exampleOf(items as Schema, known, name)] : [];
  if (properties || type === "object")
    return Object.fromEntries(
      Object.entries(properties ?? {}).flatMap(([member, of]: [string, Schema]) =>
        // That must not be there.
        "not" in of ? [] : [[member, exampleOf(of, known, member)]],
      ),
    );
  return (
    FORMATS[String(format)] ??
    VALUES[`${name} ${String(type)}`] ??
    VALUES[name] ??
    schema["default"] ??
    typical(schema, name)
  );
}

/** The plainest value of a schema of which nothing more is known: of a text, what its member is called. */
function typical({ type, minimum = 0 }: Schema, name: string): unknown {
  if (type === "boolean") return true;
  if (type === "integer" || type === "number") return minimum;
  return name === "" ? "…" : name.slice(0, 1).toUpperCase() + name.slice(1).replaceAll("_", " ");
}
