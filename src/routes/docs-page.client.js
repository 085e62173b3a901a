// What /docs does: it shows /openapi.json with Scalar, which calls nobody but this API. Scalar makes stylesheets and style
// attributes as it goes, which the page's policy takes only from whoever knows its nonce, or through the CSSOM.

/** @typedef {{ createApiReference: (at: string, settings: object) => void }} Scalar */

const nonce = document.querySelector("script")?.nonce ?? "";
const { createElement } = Document.prototype;
const { setAttribute } = Element.prototype;

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
const markup = Object.getOwnPropertyDescriptor(Element.prototype, "innerHTML") ?? {};
Object.defineProperty(Element.prototype, "innerHTML", {
  ...markup,
  /** @this {Element} @param {unknown} given Text, or a TrustedHTML. */
  set(given) {
    const text = String(given);
    // Code comes as markup whose style says how wide the numbers of its lines are.
    const [, before, style = ""] = /^((?:<pre>)?<code[^>]*?) style="([^"]*)"/.exec(text) ?? [];
    if (before === undefined) return markup.set?.call(this, given);
    markup.set?.call(this, text.replace(` style="${style}"`, ""));
    this.querySelector("code")?.setAttribute("style", style);
  },
});
// Its validator would try whether it may compile code: it may not.
Object.assign(globalThis, { __zod_globalConfig: { jitless: true } });

/** What follows the device, unless somebody chooses: light or dark. */
const SETTINGS = {
  url: "/openapi.json",
  proxyUrl: "",
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  documentDownloadType: "direct",
  persistAuth: false,
  operationTitleSource: "summary",
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  authentication: { preferredSecurityScheme: "accessToken" },
  customCss:
    ":root{--scalar-font:system-ui,sans-serif;--scalar-font-code:ui-monospace,SFMono-Regular,Menlo,monospace}",
};

const script = document.createElement("script");
script.nonce = nonce;
script.src = "/docs/scalar.js";
script.addEventListener("load", () => {
  /** @type {Scalar} */
  const scalar = Reflect.get(globalThis, "Scalar");
  scalar.createApiReference("#reference", SETTINGS);
});
document.head.append(script);
