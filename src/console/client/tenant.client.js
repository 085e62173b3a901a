import { actionsOf } from "./actions.client.js";
import { archivesPart } from "./archives.client.js";
import { get } from "./api.client.js";
import { facts, h, section } from "./elements.client.js";
import { costPart } from "./cost.client.js";
import { eventsPart } from "./events.client.js";
import { badge, count, named, time } from "./figures.client.js";
import { jobsPart } from "./moves.client.js";
import { limitsPart } from "./limits.client.js";
import { fill } from "./list.client.js";
import { usagePart } from "./usage.client.js";

/**
 * @typedef {import("./tenants.client.js").Row & { closes_at?: string | null, limits: import("./setup.client.js").Policy[] | null,
 *   members: number, job: { id: string, kind: string, started_at: string } | null }} Tenant
 */

/** One tenant: what it is, does and costs, what was done to it, and what can be done. @param {string} id @returns {import("./frame.client.js").View} */
export function tenantView(id) {
  const path = `/v1/operator/tenants/${id}`;
  const title = h("h1", {}, "Tenant");
  const [head, about] = [h("div", { class: "about" }), h("div")];
  const actions = h("div", { class: "row" });
  const usage = usagePart(`${path}/usage`, `/tenants/${id}`);
  const [limits, cost] = [limitsPart(`${path}/limits`), costPart(`${path}/cost`)];
  const [jobs, archives, events] = [jobsPart(id), archivesPart(path), eventsPart(id)];
  return {
    title: "Tenant",
    nodes: [
      h("p", { class: "crumbs" }, h("a", { href: "#/tenants" }, "Tenants")),
      h("div", { class: "head" }, title, actions),
      head,
      h(
        "div",
        { class: "columns" },
        h("div", { class: "stack side" }, section("About", about), limits.node),
        h("div", { class: "stack" }, usage.node, cost.node, jobs.node, archives.node, events.node),
      ),
    ],
    load: (query, signal) => {
      // They are about the tenant as it was.
      for (const button of actions.querySelectorAll("button")) button.disabled = true;
      const known = fill(about, signal, async () => {
        /** @type {Tenant} */
        const tenant = await get(path, signal);
        title.textContent = tenant.name;
        document.title = document.title.replace(/^[^·]*/, `${tenant.name} `);
        head.replaceChildren(badge(tenant.status), h("code", {}, tenant.slug), closing(tenant));
        actions.replaceChildren(...actionsOf(tenant));
        limits.name(tenant.limits !== null, tenant.plan);
        return [factsOf(tenant)];
      });
      return Promise.all([
        known,
        usage.load(query, signal),
        ...[limits, cost, jobs, archives, events].map((part) => part.load(query, signal)),
      ]);
    },
  };
}

/** @param {Tenant} tenant */
const closing = ({ closes_at }) => (closes_at ? h("span", {}, "Erased ", time(closes_at)) : "");

/** @param {Tenant["placement"]} placement */
const placeOf = ({ kind, region }) => [named(kind), region].filter(Boolean).join(", ");

/** @param {Tenant} tenant */
const factsOf = ({ id, plan, placement, members, created_at, job }) =>
  facts([
    ["Plan", named(plan)],
    ["Placement", placeOf(placement)],
    ["Members", count(members)],
    ["Under way", job ? h("span", { class: "two" }, named(job.kind), time(job.started_at)) : "Nothing"],
    ["Made", time(created_at)],
    ["Id", h("code", {}, id)],
  ]);
