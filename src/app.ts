import { factory } from "./context.ts";
import { admit } from "./edge/admit.ts";
import { counted } from "./edge/counted.ts";
import { floodGuard } from "./edge/flood-guard.ts";
import { allowedOrigins, answerProblem, inTime, observe } from "./edge/gateway.ts";
import { identify } from "./edge/identify.ts";
import { logged } from "./edge/log.ts";
import { operatorOnly } from "./edge/operator-only.ts";
import { heededKeys, methodsOf, takenMethods } from "./edge/methods.ts";
import { consoleRoutes } from "./console/routes.ts";
import { describeApi } from "./openapi/document.ts";
import { Problem } from "./problem.ts";
import { productPages } from "./product/pages.ts";
import { productRoutes } from "./product/routes.ts";
import { emailChangeRoutes, passwordResetRoutes, verificationRoutes } from "./routes/accounts.ts";
import { apiKeyRoutes } from "./routes/api-keys.ts";
import { auditEventRoutes } from "./routes/audit-events.ts";
import { docsRoutes } from "./routes/docs.ts";
import { erasureRoutes } from "./routes/erasures.ts";
import { exportRoutes } from "./routes/exports.ts";
import { importRoutes } from "./routes/imports.ts";
import { acceptanceRoutes, invitationRoutes } from "./routes/invitations.ts";
import { issuerRoutes } from "./routes/issuers.ts";
import { homeRoutes } from "./routes/home.ts";
import { factorRoutes, recoveryCodeRoutes } from "./routes/factors.ts";
import { meRoutes, ownVerificationRoutes } from "./routes/me.ts";
import { memberRoutes } from "./routes/members.ts";
import { operatorArchiveRoutes } from "./routes/operator-archives.ts";
import { operatorSelfRoutes, operatorSessionRoutes } from "./routes/operator-sessions.ts";
import { operatorLimitRoutes } from "./routes/operator-limits.ts";
import { operatorTenantRoutes } from "./routes/operator-tenants.ts";
import { operatorRoutes } from "./routes/operator.ts";
import { operatorSupportRoutes } from "./routes/operator-support.ts";
import { operatorUsageRoutes } from "./routes/operator-usage.ts";
import { platformRoutes } from "./routes/platform.ts";
import { problemRoutes } from "./routes/problems.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { passkeyRoutes, signInRoutes, signupRoutes } from "./routes/sign-in.ts";
import { supportRoutes } from "./routes/support.ts";
import { tenantRoutes } from "./routes/tenant.ts";
import { tokenRoutes } from "./routes/token.ts";
import { usageRoutes } from "./routes/usage.ts";

const nothingThere = () => {
  throw new Problem("not_found");
};

const itself = () => app;
const methodsAt = (path: string): string[] => methodsOf(app, path);

/** The way of a request: gateway, then routes without a token, then identify and admit before those with one. */
export const app = factory
  .createApp()
  .use(observe, logged, counted, inTime, allowedOrigins, takenMethods(methodsAt), heededKeys)
  .route("/", platformRoutes)
  .route("/", problemRoutes)
  .route("/docs", docsRoutes)
  .route("/operator", consoleRoutes)
  .route("/", productPages)
  // After the product's pages: it may have a page of its own there.
  .route("/", homeRoutes)

  .route("/v1/signup", signupRoutes)
  .route("/v1/sessions", signInRoutes)
  .route("/v1/passkey-challenges", passkeyRoutes)
  .route("/v1/email-verifications", verificationRoutes)
  .route("/v1/password-resets", passwordResetRoutes)
  .route("/v1/email-changes", emailChangeRoutes)
  .route("/v1/token", tokenRoutes)
  .route("/v1/invitations", acceptanceRoutes)
  .route("/v1/erasures", erasureRoutes)
  .get("/v1/operator/openapi.json", floodGuard, operatorOnly("viewer"), ...describeApi(itself, "operators"))
  .route("/v1/operator/sessions", operatorSessionRoutes)
  .route("/v1/operator/me", operatorSelfRoutes)
  .route("/v1/operator/tenants", operatorTenantRoutes)
  .route("/v1/operator/tenants", operatorLimitRoutes)
  .route("/v1/operator", operatorRoutes)
  .route("/v1/operator", operatorUsageRoutes)
  .route("/v1/operator/tenants", operatorSupportRoutes)
  .route("/v1/operator/tenants", operatorArchiveRoutes)
  .all("/v1/operator/*", nothingThere)

  .use("/v1/*", identify, admit)
  .route("/v1/me", meRoutes)
  .route("/v1/me/factors", factorRoutes)
  .route("/v1/me/recovery-codes", recoveryCodeRoutes)
  .route("/v1/email-verifications", ownVerificationRoutes)
  .route("/v1/sessions", sessionRoutes)
  .route("/v1/tenant", tenantRoutes)
  .route("/v1/tenant/usage", usageRoutes)
  .route("/v1/tenant", supportRoutes)
  .route("/v1/tenant/exports", exportRoutes)
  .route("/v1/tenant/imports", importRoutes)
  .route("/v1/issuers", issuerRoutes)
  .route("/v1/members", memberRoutes)
  .route("/v1/invitations", invitationRoutes)
  .route("/v1/api-keys", apiKeyRoutes)
  .route("/v1/audit-events", auditEventRoutes)
  .route("/v1", productRoutes)

  .notFound(nothingThere)
  .onError(answerProblem);

app.get("/openapi.json", ...describeApi(itself, "everybody"));
