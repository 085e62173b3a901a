import { Validator, type Schema } from "@cfworker/json-schema";

type Media = { schema: Schema & { $ref?: string }; example?: unknown };
type Body = { content?: Record<string, Media> };
type Operation = {
  description?: string;
  requestBody?: Body;
  responses: Record<string, Body & { $ref?: string }>;
};
export type Document = {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema & { examples?: unknown[] }> };
};

/** Which operations have no description, which bodies have no example, and which examples do not fit: a sentence each. */
export function faultsOfExamples({ paths, components }: Document): string[] {
  const fault = (schema: Schema, example: unknown): string | undefined => {
    if (example === undefined) return "has no example";
    const whole = { ...schema, components } as Schema;
    const { valid, errors } = new Validator(whole, "2020-12", false).validate(example);
    if (valid)
      return JSON.stringify(example).includes("…")
        ? `has a placeholder for an example: ${JSON.stringify(example)
            .match(/"[^"]*":\[?"…"/g)
            ?.join()}`
        : undefined;
    const { instanceLocation, error } = errors.at(-1) ?? {};
    return `has an example that does not fit at ${instanceLocation}: ${error}`;
  };
  const faults: string[] = [];
  const note = (what: string, found: string | undefined) => found && faults.push(`${what} ${found}.`);
  for (const [name, schema] of Object.entries(components.schemas))
    note(`The schema ${name}`, fault(schema, schema.examples?.[0]));
  for (const [path, item] of Object.entries(paths))
    for (const [method, { description, requestBody, responses }] of Object.entries(item)) {
      const what = `${method.toUpperCase()} ${path}`;
      if (!description || description.length < 10) note(what, "has no description");
      const bodies = { request: requestBody, ...responses };
      for (const [which, body] of Object.entries(bodies))
        for (const [type, { schema, example }] of Object.entries(body?.content ?? {}))
          if (/json|form/.test(type) && !schema.$ref)
            note(`${what} (${which}, ${type})`, fault(schema, example));
    }
  return faults;
}
