import { at } from "./elements.client.js";

/**
 * What the page was told by its server: what the API is called, the plans, and the role that each act takes.
 * @typedef {{ name: string, limit: number, window: number | "month" }} Policy
 * @type {{ name: string, plans: Record<string, Policy[]>, roles: string[], takes: Record<string, string> }}
 */
const setup = JSON.parse(at("console").dataset["setup"] ?? "");

export const { name: NAME, plans: PLANS, roles: ROLES, takes: TAKES } = setup;
