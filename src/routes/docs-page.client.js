// What /docs does: it shows /openapi.json with Scalar, which calls nobody but this API. Scalar makes stylesheets and style
// attributes as it goes, which the page's policy takes only from whoever knows its nonce, or through the CSSOM.

/**
 * @typedef {{ createApiReference: (at: string, settings: object) => void }} Scalar
 * @typedef {{ $ref?: string, examples?: unknown[] }} Schema
 * @typedef {{ in?: string, name?: string, required?: boolean }} Parameter
 * @typedef {{ parameters?: Parameter[], requestBody?: { content: Record<string, { schema: Schema, example?: unknown }> } }} Operation
 * @typedef {{ paths: Record<string, Record<string, Operation>>, components: { schemas: Record<string, Schema> } }} Api
 */

const nonce = document.querySelector("script")?.nonce ?? "";
/** What the browser has of this name, before it is changed below. @param {object} of @param {string} name */
const native = (of, name) => Object.getOwnPropertyDescriptor(of, name) ?? {};
const createElement = native(Document.prototype, "createElement").value;
const setAttribute = native(Element.prototype, "setAttribute").value;
const markup = native(Element.prototype, "innerHTML");

/** @param {string} name @param {ElementCreationOptions} [options] */
Document.prototype.createElement = function withNonce(name, options) {
  const made = createElement.call(this, name, options);
  if (made instanceof HTMLStyleElement) made.nonce = nonce;
  return made;
};
/** @this {Element} @param {string} name @param {string} value */
Element.prototype.setAttribute = function byObjectModel(name, value) {
  if (name === "style" && (this instanceof HTMLElement || this instanceof SVGElement))
    this.style.cssText = value;
  else setAttribute.call(this, name, value);
};
Object.defineProperty(Element.prototype, "innerHTML", {
  ...markup,
  /** @this {Element} @param {unknown} given Text, or a TrustedHTML. */
  set(given) {
    const text = String(given);
    // Code comes as markup whose style says how wide the numbers of its lines are.
    const [, before, style = ""] = /^((?:<pre>)?<code[^>]*?) style="([^"]*)"/.exec(text) ?? [];
    markup.set?.call(this, before === undefined ? given : text.replace(` style="${style}"`, ""));
    if (before !== undefined) this.querySelector("code")?.setAttribute("style", style);
    // Who has no mouse scrolls it as well.
    for (const code of this.querySelectorAll("pre > code")) code.setAttribute("tabindex", "0");
  },
});
// Its validator would try whether it may compile code: it may not.
Object.assign(globalThis, { __zod_globalConfig: { jitless: true } });

/** Light or dark as the device is. Nothing is kept but which language somebody reads samples in. */
const SETTINGS = {
  proxyUrl: "",
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  documentDownloadType: "none",
  persistAuth: false,
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  authentication: { preferredSecurityScheme: "accessToken" },
  // Scalar's own greys and colours of methods are too close to what is behind them.
  customCss: `
    :root { --scalar-font: system-ui, sans-serif; --scalar-font-code: ui-monospace, SFMono-Regular, Menlo, monospace; }
    .light-mode {
      --scalar-color-2: #3d3d3d; --scalar-color-3: #595959; --scalar-color-blue: #0b5cad; --scalar-color-green: #0a6b3d;
      --scalar-color-orange: #8f4400; --scalar-color-yellow: #6f5200; --scalar-color-red: #b3261e;
    }
    .dark-mode { --scalar-color-2: #d0d0d0; --scalar-color-3: #b0b0b0; --scalar-color-red: #ff8a80; }`,
};

/** What an operation is called with, by the client in src/client/client.ts. @param {Operation} operation @param {Api} api */
function optionsOf({ parameters = [], requestBody }, { components }) {
  const ids = parameters.filter((each) => each.in === "path").map(({ name }) => [name, "…"]);
  const [media] = Object.values(requestBody?.content ?? {});
  const schema = components.schemas[media?.schema.$ref?.split("/").at(-1) ?? ""];
  const body = media?.example ?? schema?.examples?.[0];
  return {
    ...(ids.length > 0 && { params: { path: Object.fromEntries(ids) } }),
    ...(body !== undefined && { body }),
  };
}

/** Adds a call by the typed client to each operation; the samples in other languages Scalar makes. @param {Api} api */
function withSamples(api) {
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) {
      const options = JSON.stringify(optionsOf(operation, api), undefined, 2).replaceAll(
        /^( *)"(\w+)":/gm,
        "$1$2:",
      );
      const given = options === "{}" ? "" : `, ${options}`;
      const source = `const { data, error } = await client.${method.toUpperCase()}("${path}"${given});`;
      Object.assign(operation, { "x-codeSamples": [{ lang: "typescript", label: "Typed client", source }] });
    }
  return api;
}

const script = document.createElement("script");
script.nonce = nonce;
script.src = "/docs/scalar.js";
const loaded = new Promise((resolve, reject) => {
  script.addEventListener("load", resolve);
  script.addEventListener("error", reject);
});
document.head.append(script);
const [answer] = await Promise.all([fetch("/openapi.json"), loaded]);
/** @type {Scalar} */
const scalar = Reflect.get(globalThis, "Scalar");
scalar.createApiReference("#reference", { ...SETTINGS, content: withSamples(await answer.json()) });
