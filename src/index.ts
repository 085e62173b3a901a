export { app as default } from "./app.ts";
export { Tenant } from "./tenant/object.ts";
