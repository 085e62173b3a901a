import { erasuresView } from "./erasures.client.js";
import { eventsView } from "./events.client.js";
import { start } from "./frame.client.js";
import { heavyView } from "./heavy.client.js";
import { movesView } from "./moves.client.js";
import { newTenantView } from "./new-tenant.client.js";
import { operatorsView } from "./operators.client.js";
import { selfView } from "./self.client.js";
import { signInView } from "./sign-in.client.js";
import { tenantView } from "./tenant.client.js";
import { tenantsView } from "./tenants.client.js";
import { totalsView } from "./totals.client.js";

start(
  [
    { path: /^\/tenants$/, view: tenantsView },
    { path: /^\/tenants\/new$/, view: newTenantView },
    { path: /^\/tenants\/([\da-f-]{36})$/, view: tenantView },
    { path: /^\/usage$/, view: totalsView },
    { path: /^\/heavy$/, view: heavyView },
    { path: /^\/moves$/, view: movesView },
    { path: /^\/erasures$/, view: erasuresView },
    { path: /^\/events$/, view: eventsView },
    { path: /^\/operators$/, view: operatorsView },
    { path: /^\/me$/, view: selfView },
  ],
  signInView,
);
