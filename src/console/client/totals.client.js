import { h } from "./elements.client.js";
import { usagePart } from "./usage.client.js";

/** All tenants together, over time. @returns {import("./frame.client.js").View} */
export function totalsView() {
  const usage = usagePart("/v1/operator/usage", "/usage", "Over time");
  return { title: "Usage", nodes: [h("h1", {}, "Usage of all tenants"), usage.node], load: usage.load };
}
