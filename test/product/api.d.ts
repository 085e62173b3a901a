// Made by `npm run client` from /openapi.json.

export interface paths {
    "/": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Where to go from here: JSON, or a page for a browser
         * @description Takes no token.
         */
        get: operations["getHome"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/.well-known/jwks.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The public keys that verify access tokens
         * @description Takes no token. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getWellKnownJwksJson"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/account": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The page where people sign up, sign in and look after their account
         * @description Takes no token.
         */
        get: operations["getAccountPage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/account/{file}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A script or stylesheet of the page at /account
         * @description Takes no token. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getAccountFile"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This page, to read and try the API
         * @description Takes no token.
         */
        get: operations["getDocs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/{file}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A script of the page at /docs
         * @description Takes no token. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getDoc"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Is the Worker up
         * @description Takes no token.
         */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This document
         * @description Takes no token. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getOpenapiJson"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/operator": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The page where operators look after tenants
         * @description Takes no token.
         */
        get: operations["getConsole"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/operator/{file}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A script or stylesheet of the console
         * @description Takes no token. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getConsoleFile"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/problems/": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The problems that there are
         * @description Takes no token.
         */
        get: operations["getProblems"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/problems/{code}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What a problem means
         * @description Takes no token.
         */
        get: operations["getProblem"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Do Postgres and the Durable Objects answer
         * @description Takes no token.
         */
        get: operations["getReady"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List API keys, newest first
         * @description Needs the scope `api_keys:read`: admin, owner. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listApiKeys"];
        put?: never;
        /**
         * Make an API key, which is shown this once
         * @description Needs the scope `api_keys:write`: admin, owner. With an `Idempotency-Key` it is safe to repeat: for 24 hours the first answer comes again. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["createApiKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * An API key
         * @description Needs the scope `api_keys:read`: admin, owner. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getApiKey"];
        put?: never;
        post?: never;
        /**
         * Revoke an API key
         * @description Needs the scope `api_keys:write`: admin, owner. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        delete: operations["deleteApiKey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a key that takes this one's place, which goes on for a while
         * @description Needs the scope `api_keys:write`: admin, owner. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["rotateApiKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit-events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List who changed what, newest first
         * @description Needs the scope `audit:read`: admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listAuditEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/email-changes/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change an account's address to the one that the token was mailed to
         * @description Takes no token.
         */
        post: operations["confirmEmailChange"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/email-changes/undo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Bring the address back that the token was mailed to, with its password
         * @description Every session ends. Takes no token.
         */
        post: operations["undoEmailChange"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/email-verifications": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Mail the link that confirms your address again
         * @description Takes a token of the tenant, and no scope.
         */
        post: operations["createEmailVerification"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/email-verifications/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm an address, or a sign-up that waits for that, by the token that was mailed to it
         * @description Takes no token.
         */
        post: operations["confirmEmail"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/erasures/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The receipt of a tenant's erasure: a JWS, null while it is under way
         * @description Takes no token.
         */
        get: operations["getErasure"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the invitations that nobody has accepted, newest first
         * @description Needs the scope `members:read`: viewer, member, admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listInvitations"];
        put?: never;
        /**
         * Invite somebody by email
         * @description An earlier invitation of theirs is void from then on. Needs the scope `members:write`: admin, owner. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["createInvitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * An invitation
         * @description Needs the scope `members:read`: viewer, member, admin, owner, and API keys that were given it. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getInvitation"];
        put?: never;
        post?: never;
        /**
         * Revoke an invitation
         * @description Needs the scope `members:write`: admin, owner. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        delete: operations["deleteInvitation"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Accept an invitation
         * @description A password becomes that of the account, and ends its earlier sessions. Takes no token.
         */
        post: operations["acceptInvitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/issuers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List trusted issuers, newest first
         * @description Needs the scope `tenant:write`: admin, owner. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listIssuers"];
        put?: never;
        /**
         * Trust an issuer
         * @description Needs the scope `tenant:write`: admin, owner. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["createIssuer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/issuers/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A trusted issuer
         * @description Needs the scope `tenant:write`: admin, owner. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getIssuer"];
        put?: never;
        post?: never;
        /**
         * Trust an issuer no longer
         * @description Deletes its users and ends the sessions that it vouched for. Needs the scope `tenant:write`: admin, owner. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        delete: operations["deleteIssuer"];
        options?: never;
        head?: never;
        /**
         * Change what an issuer is trusted with
         * @description Ends the sessions that it vouched for. Needs the scope `tenant:write`: admin, owner. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        patch: operations["updateIssuer"];
        trace?: never;
    };
    "/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who is calling
         * @description Takes a token of the tenant, and no scope.
         */
        get: operations["getMe"];
        put?: never;
        post?: never;
        /**
         * End your account: you leave your tenants, where what you made stays without a name
         * @description Takes a token of the tenant, and no scope. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        delete: operations["deleteMe"];
        options?: never;
        head?: never;
        /**
         * Change your name and language
         * @description Takes a token of the tenant, and no scope. What you leave out stays as it is (RFC 7396).
         */
        patch: operations["updateMe"];
        trace?: never;
    };
    "/v1/me/data": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is stored about you: your account, tenants, sessions and second factors
         * @description Takes a token of the tenant, and no scope.
         */
        get: operations["getMyData"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/email": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change your address, once the link that is mailed to the new one is opened
         * @description Takes a token of the tenant, and no scope.
         */
        post: operations["changeEmail"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/factors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List your second factors, newest first
         * @description Takes a token of the tenant, and no scope.
         */
        get: operations["listFactors"];
        put?: never;
        /**
         * Begin to add a second factor
         * @description It counts once it is confirmed. Takes a token of the tenant, and no scope. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["createFactor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/factors/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Remove a second factor
         * @description With the last one the recovery codes go. Takes a token of the tenant, and no scope. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        delete: operations["deleteFactor"];
        options?: never;
        head?: never;
        /**
         * Rename a second factor
         * @description Takes a token of the tenant, and no scope. What you leave out stays as it is (RFC 7396).
         */
        patch: operations["updateFactor"];
        trace?: never;
    };
    "/v1/me/factors/{id}/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm a second factor by a proof of it
         * @description The first one comes with recovery codes. Takes a token of the tenant, and no scope. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["confirmFactor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change your password
         * @description Your other sessions end. Takes a token of the tenant, and no scope.
         */
        post: operations["changePassword"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make new recovery codes
         * @description Those before are void. Takes a token of the tenant, and no scope. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["createRecoveryCodes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/members": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the tenant's members, newest first
         * @description Needs the scope `members:read`: viewer, member, admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listMembers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/members/{user_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A member
         * @description Needs the scope `members:read`: viewer, member, admin, owner, and API keys that were given it. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getMember"];
        put?: never;
        post?: never;
        /**
         * Remove a member, or leave
         * @description Takes a token of the tenant, and no scope. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        delete: operations["deleteMember"];
        options?: never;
        head?: never;
        /**
         * Change a member's role
         * @description Their API keys lose what it does not allow. Needs the scope `members:write`: admin, owner. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        patch: operations["updateMember"];
        trace?: never;
    };
    "/v1/members/{user_id}/factors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Remove a member's second factors, for an owner
         * @description They hear of it by mail. Needs the scope `members:write`: admin, owner. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        delete: operations["deleteMemberFactors"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/erasures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the erasures, newest first
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperatorErasures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List what operators did, to whom and why, newest first
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperatorEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/heavy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The tenants that use most, now or over a period
         * @description Takes an operator of the role viewer, or of a greater one.
         */
        get: operations["listOperatorHeavyTenants"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/me/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change your password, with a code of the second factor
         * @description Your other sessions end. Takes an operator of the role viewer, or of a greater one.
         */
        post: operations["changeOperatorPassword"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/moves": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the moves and restores of tenants, newest first
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperatorMoves"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The OpenAPI document of the operators' routes
         * @description Takes an operator of the role viewer, or of a greater one. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getOperatorOpenapiJson"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/operators": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the operators, those who are removed too, newest first
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperators"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign in as an operator: always with a code of the second factor
         * @description Takes no token.
         */
        post: operations["createOperatorSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/sessions/current": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Sign out: your token ends, and what you have open in tenants
         * @description Takes an operator of the role viewer, or of a greater one.
         */
        delete: operations["deleteOperatorSession"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the tenants
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperatorTenants"];
        put?: never;
        /**
         * Make a tenant, and mail an invitation to its first owner
         * @description Sent again, it invites them again. Takes an operator of the role admin, or of a greater one.
         */
        post: operations["createOperatorTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read a tenant: what is stored of it, and nothing that it stores
         * @description Takes an operator of the role viewer, or of a greater one. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getOperatorTenant"];
        put?: never;
        post?: never;
        /**
         * Start closing a tenant: it is erased after a grace period
         * @description Takes an operator of the role admin, or of a greater one.
         */
        delete: operations["deleteOperatorTenant"];
        options?: never;
        head?: never;
        /**
         * Suspend or reinstate a tenant, or change its plan or its own limits
         * @description Takes an operator of the role admin, or of a greater one. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        patch: operations["updateOperatorTenant"];
        trace?: never;
    };
    "/v1/operator/tenants/{id}/cost": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What a tenant costs by published prices, part by part
         * @description Of this month unless days are named. Where the tenant is alone in a Neon project that is known, what Neon bills is by Neon's own figures of that project: `neon` says of which days, or why not, and each part whose figures it is by. Takes an operator of the role viewer, or of a greater one.
         */
        get: operations["getOperatorTenantCost"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/erase": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Erase a tenant at once, for good
         * @description Takes an operator of the role admin, or of a greater one.
         */
        post: operations["eraseOperatorTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/exports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List a tenant's exports, newest first, those whose archives are gone too
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperatorTenantExports"];
        put?: never;
        /**
         * Begin an export of a tenant, which its own people see and download
         * @description Takes an operator of the role support, or of a greater one.
         */
        post: operations["createOperatorExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/imports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List a tenant's imports, newest first
         * @description Takes an operator of the role viewer, or of a greater one. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listOperatorTenantImports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/limits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is left of each of a tenant's limits now
         * @description Asking uses none of it. Takes an operator of the role viewer, or of a greater one.
         */
        get: operations["getOperatorTenantLimits"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Keep a tenant after all: end its closing
         * @description Takes an operator of the role support, or of a greater one.
         */
        post: operations["restoreOperatorTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End all sessions of a tenant's people in it
         * @description Takes an operator of the role support, or of a greater one.
         */
        delete: operations["deleteOperatorTenantSessions"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/support-sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Ask for access to a tenant: 201 with a token where it lets operators in, 202 where an owner is asked
         * @description Takes an operator of the role support, or of a greater one.
         */
        post: operations["createSupportSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/support-sessions/{session_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether a session of support is asked, active or ended
         * @description Takes an operator of the role support, or of a greater one.
         */
        get: operations["getSupportSession"];
        put?: never;
        post?: never;
        /**
         * Leave the tenant: your own session of support ends, or as an admin anybody's
         * @description Takes an operator of the role support, or of a greater one.
         */
        delete: operations["endSupportSession"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/support-sessions/{session_id}/token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The next token of your own session of support, for ten minutes at most
         * @description Takes an operator of the role support, or of a greater one.
         */
        post: operations["createSupportToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/tenants/{id}/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What a tenant used in each day or hour (UTC), as the tenant sees it
         * @description Takes an operator of the role viewer, or of a greater one.
         */
        get: operations["getOperatorTenantUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What all tenants used together in each day or hour (UTC)
         * @description Takes an operator of the role viewer, or of a greater one.
         */
        get: operations["getOperatorUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/passkey-challenges": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Ask for a challenge that a passkey signs, to sign in with it alone or to prove again who calls
         * @description Takes no token.
         */
        post: operations["createPasskeyChallenge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/password-resets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Mail a link that sets a new password
         * @description The answer is the same without an account. Takes no token.
         */
        post: operations["createPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/password-resets/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Set a new password by the token that was mailed
         * @description Every session ends. Takes no token.
         */
        post: operations["confirmPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List projects, newest first
         * @description Needs the scope `projects:read`: viewer, member, admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listProjects"];
        put?: never;
        /**
         * Create a project
         * @description Needs the scope `projects:write`: member, admin, owner, and API keys that were given it. With an `Idempotency-Key` it is safe to repeat: for 24 hours the first answer comes again.
         */
        post: operations["createProject"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a project
         * @description Needs the scope `projects:read`: viewer, member, admin, owner, and API keys that were given it. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getProject"];
        put?: never;
        post?: never;
        /**
         * Delete a project and its tasks
         * @description Needs the scope `projects:write`: member, admin, owner, and API keys that were given it. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        delete: operations["deleteProject"];
        options?: never;
        head?: never;
        /**
         * Change a project
         * @description Needs the scope `projects:write`: member, admin, owner, and API keys that were given it. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        patch: operations["updateProject"];
        trace?: never;
    };
    "/v1/projects/{id}/tasks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List a project's tasks, newest first
         * @description Needs the scope `tasks:read`: viewer, member, admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listProjectTasks"];
        put?: never;
        /**
         * Add a task to a project
         * @description Needs the scope `tasks:write`: member, admin, owner, and API keys that were given it. With an `Idempotency-Key` it is safe to repeat: for 24 hours the first answer comes again.
         */
        post: operations["createProjectTask"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{id}/tasks/bulk": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Add many tasks to a project: all or none
         * @description Needs the scope `tasks:write`: member, admin, owner, and API keys that were given it. With an `Idempotency-Key` it is safe to repeat: for 24 hours the first answer comes again.
         */
        post: operations["createProjectTasks"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List your sessions in this tenant, newest first
         * @description Takes a token of the tenant, and no scope. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listSessions"];
        put?: never;
        /**
         * Sign in
         * @description Takes no token.
         */
        post: operations["createSession"];
        /**
         * Sign out everywhere in this tenant
         * @description Takes a token of the tenant, and no scope.
         */
        delete: operations["deleteSessions"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End a session
         * @description `current` is the caller's. Takes a token of the tenant, and no scope.
         */
        delete: operations["deleteSession"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/current/step-up": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Prove again who you are: for ten minutes you may do what a stolen token may not
         * @description Takes a token of the tenant, and no scope.
         */
        post: operations["stepUpSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign in with the second factor that a challenge asks for
         * @description Takes no token.
         */
        post: operations["createFactorSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/factor/enrolment": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin to add the second factor that a tenant requires, by a challenge that asks for it
         * @description Takes no token.
         */
        post: operations["createFactorEnrolment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/passkey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign in with a passkey alone
         * @description Takes no token.
         */
        post: operations["createPasskeySession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/refresh": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchange a refresh token for a new access token and refresh token
         * @description Takes no token.
         */
        post: operations["refreshSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/switch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start a session in another of your tenants
         * @description Takes a token of the tenant, and no scope.
         */
        post: operations["switchSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a tenant and its owner
         * @description 202 where the address is confirmed first, by the link in a mail. Takes no token.
         */
        post: operations["createSignup"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the tasks of all projects, newest first
         * @description Needs the scope `tasks:read`: viewer, member, admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listTasks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a task
         * @description Needs the scope `tasks:read`: viewer, member, admin, owner, and API keys that were given it. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getTask"];
        put?: never;
        post?: never;
        /**
         * Delete a task
         * @description Needs the scope `tasks:write`: member, admin, owner, and API keys that were given it. With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        delete: operations["deleteTask"];
        options?: never;
        head?: never;
        /**
         * Change a task
         * @description Needs the scope `tasks:write`: member, admin, owner, and API keys that were given it. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.
         */
        patch: operations["updateTask"];
        trace?: never;
    };
    "/v1/tenant": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The tenant
         * @description Needs the scope `tenant:read`: viewer, member, admin, owner. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getTenant"];
        put?: never;
        post?: never;
        /**
         * Start closing the tenant: it is erased after a grace period
         * @description Needs the scope `tenant:delete`: owner. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        delete: operations["deleteTenant"];
        options?: never;
        head?: never;
        /**
         * Rename the tenant, or require a second factor of its members
         * @description Needs the scope `tenant:write`: admin, owner. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        patch: operations["updateTenant"];
        trace?: never;
    };
    "/v1/tenant/exports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the exports, newest first
         * @description Needs the scope `export`: admin, owner, and API keys that were given it. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listExports"];
        put?: never;
        /**
         * Export all that the tenant has, as of now
         * @description Needs the scope `export`: admin, owner, and API keys that were given it.
         */
        post: operations["createExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/exports/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How far an export is
         * @description Needs the scope `export`: admin, owner, and API keys that were given it.
         */
        get: operations["getExport"];
        put?: never;
        post?: never;
        /**
         * Delete an export's archive
         * @description Needs the scope `export`: admin, owner, and API keys that were given it.
         */
        delete: operations["deleteExport"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/exports/{id}/archive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Download an export: a ZIP of NDJSON files and manifest.json
         * @description Needs the scope `export`: admin, owner, and API keys that were given it.
         */
        get: operations["getExportArchive"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/imports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Import an archive into the empty tenant: all or nothing
         * @description Needs the scope `import`: owner.
         */
        post: operations["createImport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/imports/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How far an import is
         * @description Needs the scope `import`: owner.
         */
        get: operations["getImport"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/limits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is left of each limit
         * @description Takes a token of the tenant, and no scope.
         */
        get: operations["getTenantLimits"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Keep the tenant after all: end its closing
         * @description Needs the scope `tenant:delete`: owner.
         */
        post: operations["restoreTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/support-access": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether the service's operators may look in: never, when an owner approves, or on their own
         * @description Needs the scope `tenant:read`: viewer, member, admin, owner. With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.
         */
        get: operations["getSupportAccess"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Say whether operators may look in
         * @description A stricter mode ends what it does not allow. Needs the scope `support:write`: owner. What you leave out stays as it is (RFC 7396). With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        patch: operations["updateSupportAccess"];
        trace?: never;
    };
    "/v1/tenant/support-sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List which operators asked to look in, are in, and were in, newest first
         * @description Needs the scope `tenant:read`: viewer, member, admin, owner. Answers a page: pass its `next_cursor` back as `cursor` for the next one.
         */
        get: operations["listSupportSessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/support-sessions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Have an operator out at once, or refuse what was asked
         * @description Needs the scope `tenant:write`: admin, owner.
         */
        delete: operations["deleteSupportSession"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/support-sessions/{id}/approve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let the operator in who asked, for the minutes that were asked, from now on
         * @description Needs the scope `support:write`: owner. A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.
         */
        post: operations["approveSupportSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was used in each day or hour (UTC), periods without any use included
         * @description Needs the scope `usage:read`: viewer, member, admin, owner, and API keys that were given it.
         */
        get: operations["getTenantUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchange a token of an issuer that the tenant trusts for an access token
         * @description Takes no token.
         */
        post: operations["createToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * @example {
         *       "token": "pt_7LhKdPz3Gu9Ea5Ti6Co4fTq0Yb1RrW2vN8sJmXc",
         *       "password": "correct horse battery staple"
         *     }
         */
        Acceptance: {
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password?: string;
            token: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "name": "Nightly import",
         *       "scopes": [
         *         "projects:read"
         *       ],
         *       "hint": "pw_live_4fTq",
         *       "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z",
         *       "last_used_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        ApiKey: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            created_by: string;
            expires_at: string | null;
            hint: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            last_used_at: string | null;
            /** @example Acme */
            name: string;
            scopes: ("projects:read" | "projects:write" | "tasks:read" | "tasks:write" | "members:read" | "audit:read" | "usage:read" | "export")[];
        };
        /**
         * @example {
         *       "overlap_s": 86400
         *     }
         */
        ApiKeyRotation: {
            /**
             * Format: int32
             * @default 86400
             */
            overlap_s: number;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "status": "queued",
         *       "rows": 4210,
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "finished_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        ArchiveJob: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            expires_at: string | null;
            finished_at: string | null;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            rows: number;
            /** @enum {string} */
            status: "queued" | "running" | "done" | "failed";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "actor": {
         *         "type": "user",
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "name": "Acme"
         *       },
         *       "action": "create",
         *       "resource": "projects",
         *       "resource_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "changed": [
         *         "name"
         *       ],
         *       "request_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "reason": "The customer asked for it",
         *       "created_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        AuditEvent: {
            /** @enum {string} */
            action: "create" | "update" | "delete";
            actor: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                name: string | null;
                /** @enum {string} */
                type: "user" | "api_key" | "invitation" | "issuer" | "operator" | "support";
            };
            changed: string[];
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            reason: string | null;
            request_id: string | null;
            resource: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            resource_id: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
         *     }
         */
        Begun: {
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "type": "totp",
         *       "name": "Acme",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "last_used_at": "2026-11-23T09:30:00.000Z",
         *       "recovery_codes": [
         *         "7q4m-k2xv-9d3t"
         *       ]
         *     }
         */
        ConfirmedFactor: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            last_used_at: string | null;
            /** @example Acme */
            name: string;
            recovery_codes?: string[];
            /** @enum {string} */
            type: "totp" | "passkey";
        };
        /**
         * @example {
         *       "currency": "USD",
         *       "as_of": "2026-11-01",
         *       "total": "12.80",
         *       "parts": [
         *         {
         *           "what": "Requests to the Worker",
         *           "quantity": "1204000",
         *           "unit": "request",
         *           "unit_price": "0.0000003",
         *           "amount": "0.42",
         *           "figures": "own"
         *         }
         *       ],
         *       "neon": {
         *         "project": "delicate-dawn-54854667",
         *         "why_not": null,
         *         "from": "2026-11-01",
         *         "to": "2026-11-30",
         *         "figures": {
         *           "compute_unit_seconds": "500000",
         *           "root_branch_bytes_month": "2500000000000",
         *           "child_branch_bytes_month": "0",
         *           "instant_restore_bytes_month": "98344000",
         *           "snapshot_storage_bytes_month": "0",
         *           "public_network_transfer_bytes": "2184000",
         *           "private_network_transfer_bytes": "0"
         *         }
         *       }
         *     }
         */
        Cost: {
            as_of: string;
            currency: string;
            neon: {
                figures: {
                    child_branch_bytes_month: string;
                    compute_unit_seconds: string;
                    instant_restore_bytes_month: string;
                    private_network_transfer_bytes: string;
                    public_network_transfer_bytes: string;
                    root_branch_bytes_month: string;
                    snapshot_storage_bytes_month: string;
                } | null;
                from: string | null;
                project: string;
                to: string | null;
                /** @example null */
                why_not: ("not_set_up" | "no_prices" | "several_tenants" | "no_days" | "unknown_project" | "no_answer") | null;
            } | null;
            parts: {
                amount: string;
                /** @enum {string} */
                figures: "own" | "neon";
                quantity: string;
                unit: string;
                unit_price: string;
                what: string;
            }[];
            total: string;
        };
        /**
         * @example {
         *       "email": "ada@acme.test",
         *       "password": "correct horse battery staple"
         *     }
         */
        EmailChange: {
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
        };
        /**
         * @example {
         *       "token": "pt_7LhKdPz3Gu9Ea5Ti6Co4fTq0Yb1RrW2vN8sJmXc",
         *       "password": "correct horse battery staple"
         *     }
         */
        EmailConfirmation: {
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password?: string;
            token: string;
        };
        /**
         * @example {
         *       "challenge": "3q2-7w8mQ0m0pX0b5l1Zy2m7o1o0b1Jm",
         *       "type": "totp",
         *       "name": "Acme"
         *     }
         */
        Enrolment: {
            challenge: string;
            /** @example Acme */
            name: string;
            /** @enum {string} */
            type: "totp" | "passkey";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "receipt": null
         *     }
         */
        Erasing: {
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            receipt: null;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "receipt": "eyJhbGciOiJFZDI1NTE5In0.eyJlcmFzZWQiOnRydWV9.c2lnbmF0dXJl",
         *       "requested_at": "2026-11-23T09:30:00.000Z",
         *       "finished_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Erasure: {
            finished_at: string | null;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            receipt: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            requested_at: string;
        };
        /**
         * @example {
         *       "access_token": "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIwMTk3NmYyZSJ9.c2lnbmF0dXJl",
         *       "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
         *       "token_type": "Bearer",
         *       "expires_in": 600,
         *       "scope": "projects:read projects:write"
         *     }
         */
        ExchangedToken: {
            access_token: string;
            expires_in: number;
            /** @constant */
            issued_token_type: "urn:ietf:params:oauth:token-type:access_token";
            scope: string;
            /** @constant */
            token_type: "Bearer";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "status": "queued",
         *       "rows": 4210,
         *       "bytes": 524288,
         *       "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Export: {
            bytes: number | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            expires_at: string | null;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            rows: number;
            sha256: string | null;
            /** @enum {string} */
            status: "queued" | "running" | "done" | "failed";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "type": "totp",
         *       "name": "Acme",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "last_used_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Factor: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            last_used_at: string | null;
            /** @example Acme */
            name: string;
            /** @enum {string} */
            type: "totp" | "passkey";
        };
        /**
         * @example {
         *       "code": "492039"
         *     }
         */
        FactorConfirmation: {
            code?: string;
            response?: {
                /** @default {} */
                clientExtensionResults: Record<string, unknown>;
                id: string;
                rawId: string;
                response: {
                    attestationObject: string;
                    clientDataJSON: string;
                    transports?: string[];
                };
                /** @constant */
                type: "public-key";
            };
        };
        /**
         * @example {
         *       "name": "Acme"
         *     }
         */
        FactorPatch: {
            /** @example Acme */
            name?: string;
        };
        /**
         * @example {
         *       "challenge": "3q2-7w8mQ0m0pX0b5l1Zy2m7o1o0b1Jm",
         *       "code": "492039"
         *     }
         */
        FactorProof: {
            challenge: string;
            code?: string;
            recovery_code?: string;
            response?: {
                /** @default {} */
                clientExtensionResults: Record<string, unknown>;
                id: string;
                rawId: string;
                response: {
                    authenticatorData: string;
                    clientDataJSON: string;
                    signature: string;
                    userHandle?: string | null;
                };
                /** @constant */
                type: "public-key";
            } | {
                /** @default {} */
                clientExtensionResults: Record<string, unknown>;
                id: string;
                rawId: string;
                response: {
                    attestationObject: string;
                    clientDataJSON: string;
                    transports?: string[];
                };
                /** @constant */
                type: "public-key";
            };
        };
        /**
         * @example {
         *       "access_token": "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIwMTk3NmYyZSJ9.c2lnbmF0dXJl",
         *       "token_type": "Bearer",
         *       "expires_in": 600,
         *       "refresh_token": "pr_Yb1RrW2vN8sJmXc7LhKdPz3Gu9Ea5Ti6Co4fTq0",
         *       "session": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
         *       },
         *       "user": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "email": "ada@acme.test"
         *       },
         *       "tenant": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "slug": "acme",
         *         "name": "Acme",
         *         "role": "viewer"
         *       },
         *       "recovery_codes": [
         *         "7q4m-k2xv-9d3t"
         *       ]
         *     }
         */
        FactorSession: {
            access_token: string;
            expires_in: number;
            recovery_codes?: string[];
            refresh_token: string;
            session: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
            };
            tenant: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
                /** @enum {string} */
                role: "viewer" | "member" | "admin" | "owner";
                /** @example acme */
                slug: string;
            };
            /** @constant */
            token_type: "Bearer";
            user: {
                /**
                 * Format: email
                 * @example ada@acme.test
                 */
                email: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
            };
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "type": "totp",
         *       "name": "Acme",
         *       "secret": "JBSWY3DPEHPK3PXP",
         *       "uri": "otpauth://totp/Acme:ada%40acme.test?secret=JBSWY3DPEHPK3PXP&issuer=Acme",
         *       "options": {}
         *     }
         */
        FactorSetup: {
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @example Acme */
            name: string;
            options?: {
                [key: string]: unknown;
            };
            secret?: string;
            /** @enum {string} */
            type: "totp" | "passkey";
            uri?: string;
        };
        /**
         * @example {
         *       "status": "ok"
         *     }
         */
        Health: {
            /** @constant */
            status: "ok";
        };
        /**
         * @example {
         *       "tenant": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "slug": "acme",
         *         "name": "Acme",
         *         "plan": "startup",
         *         "status": "active"
         *       },
         *       "requests": 1204,
         *       "refused": 3,
         *       "units": 1310,
         *       "errors": 0,
         *       "bytes_out": 1048576,
         *       "db_ms": 4810,
         *       "rows": 4210,
         *       "bytes_stored": 20971520,
         *       "cost": "0.42"
         *     }
         */
        HeavyTenant: {
            bytes_out: number;
            bytes_stored: number | null;
            cost: string;
            db_ms: number;
            errors: number;
            refused: number;
            requests: number;
            rows: number | null;
            tenant: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
                plan: string;
                /** @example acme */
                slug: string;
                status: string;
            };
            units: number;
        };
        /**
         * @example {
         *       "name": "Acme",
         *       "docs": "https://api.example.com/docs",
         *       "openapi": "https://api.example.com/openapi.json",
         *       "account": "https://api.example.com/account",
         *       "health": "https://api.example.com/health"
         *     }
         */
        Home: {
            account: string;
            docs: string;
            health: string;
            /** @example Acme */
            name: string;
            openapi: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "status": "queued",
         *       "rows": 4210,
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "reason": "The customer asked for it"
         *     }
         */
        Import: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            reason: string | null;
            rows: number;
            /** @enum {string} */
            status: "queued" | "running" | "done" | "failed";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "email": "ada@acme.test",
         *       "role": "viewer",
         *       "invited_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "expires_at": "2026-11-23T09:30:00.000Z",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "updated_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Invitation: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            expires_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            invited_by: string;
            /** @enum {string} */
            role: "viewer" | "member" | "admin" | "owner";
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            updated_at: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "issuer": "https://id.acme.test",
         *       "audience": "acme",
         *       "role_claim": "groups",
         *       "role_map": {},
         *       "default_role": "viewer",
         *       "email_domains": [
         *         "acme.test"
         *       ],
         *       "just_in_time": true,
         *       "registered_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "status": "active",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "updated_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Issuer: {
            audience: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            default_role: ("viewer" | "member" | "admin") | null;
            email_domains: string[];
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            issuer: string;
            just_in_time: boolean;
            registered_by: string;
            role_claim: string | null;
            role_map: {
                [key: string]: "viewer" | "member" | "admin";
            };
            /** @enum {string} */
            status: "active" | "suspended";
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            updated_at: string;
        };
        /**
         * @example {
         *       "role_claim": "groups",
         *       "role_map": {},
         *       "default_role": "viewer",
         *       "email_domains": [
         *         "acme.test"
         *       ],
         *       "just_in_time": true
         *     }
         */
        IssuerPatch: {
            default_role?: ("viewer" | "member" | "admin") | null;
            email_domains?: string[];
            just_in_time?: boolean;
            role_claim?: string | null;
            role_map?: {
                [key: string]: ("viewer" | "member" | "admin") | null;
            } | null;
        };
        /**
         * @example {
         *       "keys": [
         *         {
         *           "kty": "OKP",
         *           "kid": "2026-11",
         *           "alg": "Ed25519",
         *           "use": "sig",
         *           "crv": "Ed25519",
         *           "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
         *           "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
         *         }
         *       ]
         *     }
         */
        KeySet: {
            keys: {
                /** @enum {string} */
                alg: "Ed25519" | "ES256";
                /** @enum {string} */
                crv: "Ed25519" | "P-256";
                kid: string;
                /** @enum {string} */
                kty: "OKP" | "EC";
                /** @constant */
                use: "sig";
                x: string;
                y?: string;
            }[];
        };
        /**
         * @example {
         *       "data": [
         *         {
         *           "name": "Acme",
         *           "limit": 3000,
         *           "window": 60,
         *           "remaining": 2974,
         *           "reset": 12
         *         }
         *       ]
         *     }
         */
        Limits: {
            data: {
                limit: number;
                /** @example Acme */
                name: string;
                remaining: number;
                reset: number;
                window: number | "month";
            }[];
        };
        /**
         * @example {
         *       "token": "pt_7LhKdPz3Gu9Ea5Ti6Co4fTq0Yb1RrW2vN8sJmXc"
         *     }
         */
        LinkToken: {
            token: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "email": "ada@acme.test",
         *       "role": "viewer",
         *       "signed_in_at": "2026-11-23T09:30:00.000Z",
         *       "disabled_at": "2026-11-23T09:30:00.000Z",
         *       "created_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        ListedOperator: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            disabled_at: string | null;
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @enum {string} */
            role: "viewer" | "support" | "admin";
            signed_in_at: string | null;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "current": true,
         *       "device": "Firefox on Linux",
         *       "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
         *       "country": "DE",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "last_used_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        ListedSession: {
            country: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            current: boolean;
            device: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            expires_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            last_used_at: string;
            user_agent: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "slug": "acme",
         *       "name": "Acme",
         *       "plan": "solo",
         *       "status": "active",
         *       "placement": {
         *         "kind": "shared",
         *         "region": "eu-central-1"
         *       },
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "closes_at": "2026-11-23T09:30:00.000Z",
         *       "requests": 1204,
         *       "refused": 3,
         *       "rows": 4210,
         *       "bytes_stored": 20971520,
         *       "cost": "0.42"
         *     }
         */
        ListedTenant: {
            bytes_stored: number;
            closes_at: string | null;
            cost: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @example Acme */
            name: string;
            placement: {
                /** @enum {string} */
                kind: "shared" | "schema" | "dedicated";
                region: string | null;
            };
            /** @enum {string} */
            plan: "solo" | "startup" | "enterprise";
            refused: number;
            requests: number;
            rows: number;
            /** @example acme */
            slug: string;
            /** @enum {string} */
            status: "active" | "read_only" | "suspended" | "closing" | "erasing";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "name": "Nightly import",
         *       "scopes": [
         *         "projects:read"
         *       ],
         *       "hint": "pw_live_4fTq",
         *       "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z",
         *       "last_used_at": "2026-11-23T09:30:00.000Z",
         *       "key": "pw_live_4fTq0Yb1RrW2vN8sJmXc7LhKdPz3Gu9Ea5Ti6Co"
         *     }
         */
        MadeApiKey: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            created_by: string;
            expires_at: string | null;
            hint: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            key: string;
            last_used_at: string | null;
            /** @example Acme */
            name: string;
            scopes: ("projects:read" | "projects:write" | "tasks:read" | "tasks:write" | "members:read" | "audit:read" | "usage:read" | "export")[];
        };
        /**
         * @example {
         *       "user": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "email": "ada@acme.test",
         *         "name": "Acme",
         *         "locale": "en",
         *         "email_verified": true
         *       },
         *       "email_verified": true,
         *       "api_key": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "name": "Acme"
         *       },
         *       "role": "viewer",
         *       "scopes": [
         *         "projects:read"
         *       ],
         *       "tenant": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "slug": "acme",
         *         "name": "Acme",
         *         "role": "viewer"
         *       },
         *       "other_tenants": [
         *         {
         *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *           "slug": "acme",
         *           "name": "Acme",
         *           "role": "viewer"
         *         }
         *       ],
         *       "act": {
         *         "sub": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "name": "Acme",
         *         "session_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "reason": "The customer asked for it",
         *         "write": true,
         *         "expires_at": "2026-11-23T09:30:00.000Z"
         *       }
         *     }
         */
        Me: {
            act: {
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                expires_at: string;
                /** @example Acme */
                name: string;
                reason: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                session_id: string;
                sub: string;
                write: boolean;
            } | null;
            api_key: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
            } | null;
            email_verified: boolean | null;
            other_tenants: components["schemas"]["TenantMembership"][];
            role: ("viewer" | "member" | "admin" | "owner") | null;
            scopes: string[];
            tenant: components["schemas"]["TenantMembership"] | {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
                /** @example acme */
                slug: string;
            };
            user: {
                /**
                 * Format: email
                 * @example ada@acme.test
                 */
                email: string;
                email_verified: boolean;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                locale: string | null;
                name: string | null;
            } | null;
        };
        /**
         * @example {
         *       "user_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "email": "ada@acme.test",
         *       "role": "viewer",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "updated_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Member: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /** @enum {string} */
            role: "viewer" | "member" | "admin" | "owner";
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            updated_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            user_id: string;
        };
        /**
         * @example {
         *       "role": "viewer"
         *     }
         */
        MemberPatch: {
            /** @enum {string} */
            role?: "viewer" | "member" | "admin" | "owner";
        };
        /**
         * @example {
         *       "name": "Ada Lovelace",
         *       "locale": "en"
         *     }
         */
        MePatch: {
            locale?: string | null;
            name?: string | null;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "tenant": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "slug": "acme"
         *       },
         *       "kind": "move",
         *       "source": "shared",
         *       "target": "eu-dedicated",
         *       "outcome": "done",
         *       "progress": {
         *         "phase": "copying",
         *         "rows": 4210,
         *         "bytes": 524288,
         *         "total": 8420
         *       },
         *       "started_at": "2026-11-23T09:30:00.000Z",
         *       "worked_at": "2026-11-23T09:30:00.000Z",
         *       "finished_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Move: {
            finished_at: string | null;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @enum {string} */
            kind: "move" | "clear" | "restore";
            outcome: ("done" | "failed" | "abandoned") | null;
            progress: {
                bytes: number | null;
                phase: string | null;
                rows: number | null;
                total: number | null;
            };
            source: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            started_at: string;
            target: string;
            tenant: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                slug: string | null;
            };
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            worked_at: string;
        };
        /**
         * @example {
         *       "name": "Nightly import",
         *       "scopes": [
         *         "projects:read"
         *       ],
         *       "expires_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        NewApiKey: {
            expires_at?: string | null;
            /** @example Acme */
            name: string;
            scopes: ("projects:read" | "projects:write" | "tasks:read" | "tasks:write" | "members:read" | "audit:read" | "usage:read" | "export")[];
        };
        /**
         * @example {
         *       "type": "totp",
         *       "name": "Acme"
         *     }
         */
        NewFactor: {
            /** @example Acme */
            name: string;
            /** @enum {string} */
            type: "totp" | "passkey";
        };
        /**
         * @example {
         *       "email": "ada@acme.test",
         *       "role": "viewer"
         *     }
         */
        NewInvitation: {
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /** @enum {string} */
            role: "viewer" | "member" | "admin" | "owner";
        };
        /**
         * @example {
         *       "issuer": "https://id.acme.test",
         *       "audience": "acme",
         *       "role_claim": "groups",
         *       "role_map": {},
         *       "default_role": "viewer",
         *       "email_domains": [
         *         "acme.test"
         *       ],
         *       "just_in_time": true
         *     }
         */
        NewIssuer: {
            audience: string;
            default_role?: ("viewer" | "member" | "admin") | null;
            email_domains: string[];
            /** Format: uri */
            issuer: string;
            just_in_time?: boolean;
            role_claim?: string | null;
            role_map?: {
                [key: string]: "viewer" | "member" | "admin";
            };
        };
        /**
         * @example {
         *       "name": "Acme",
         *       "slug": "acme",
         *       "plan": "solo",
         *       "owner_email": "grace@acme.test",
         *       "reason": "The customer asked for it"
         *     }
         */
        NewOperatedTenant: {
            /** @example Acme */
            name: string;
            /** Format: email */
            owner_email: string;
            /** @enum {string} */
            plan: "solo" | "startup" | "enterprise";
            reason?: string;
            slug: string;
        };
        /**
         * @example {
         *       "name": "Acme",
         *       "description": "What is left to do before spring",
         *       "status": "active"
         *     }
         */
        NewProject: {
            description?: string | null;
            /** @example Acme */
            name: string;
            status?: ("active" | "archived") | null;
        };
        /**
         * @example {
         *       "reason": "The customer asked for it",
         *       "minutes": 30,
         *       "write": false
         *     }
         */
        NewSupportSession: {
            /** Format: int32 */
            minutes: number;
            reason: string;
            /** @default false */
            write: boolean;
        };
        /**
         * @example {
         *       "title": "Order the tiles",
         *       "notes": "The grey ones, as in the kitchen",
         *       "status": "todo",
         *       "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "due_on": "2026-12-24"
         *     }
         */
        NewTask: {
            assignee_id?: string | null;
            due_on?: string | null;
            notes?: string | null;
            status?: ("todo" | "doing" | "done") | null;
            /** @example Order the tiles */
            title: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "slug": "acme",
         *       "name": "Acme",
         *       "plan": "solo",
         *       "status": "active",
         *       "placement": {
         *         "kind": "shared",
         *         "region": "eu-central-1"
         *       },
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "closes_at": "2026-11-23T09:30:00.000Z",
         *       "limits": [
         *         {
         *           "name": "minute",
         *           "limit": 3000,
         *           "window": "month"
         *         }
         *       ],
         *       "members": 8,
         *       "job": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "kind": "move",
         *         "started_at": "2026-11-23T09:30:00.000Z"
         *       }
         *     }
         */
        OperatedTenant: {
            closes_at: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            job: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @enum {string} */
                kind: "move" | "clear" | "restore" | "export" | "import" | "erasure";
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                started_at: string;
            } | null;
            limits: {
                /** Format: int64 */
                limit: number;
                name: string;
                window: "month" | number;
            }[] | null;
            members: number;
            /** @example Acme */
            name: string;
            placement: {
                /** @enum {string} */
                kind: "shared" | "schema" | "dedicated";
                region: string | null;
            };
            /** @enum {string} */
            plan: "solo" | "startup" | "enterprise";
            /** @example acme */
            slug: string;
            /** @enum {string} */
            status: "active" | "read_only" | "suspended" | "closing" | "erasing";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "actor": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "name": "Acme"
         *       },
         *       "action": "insert",
         *       "tenant": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "slug": "acme"
         *       },
         *       "reason": "The customer asked for it",
         *       "change": {},
         *       "request_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
         *     }
         */
        OperatorEvent: {
            action: string;
            actor: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
            };
            change: {
                [key: string]: unknown;
            };
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            reason: string | null;
            request_id: string | null;
            tenant: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                slug: string | null;
            } | null;
        };
        /**
         * @example {
         *       "current_password": "correct horse battery staple",
         *       "code": "492039",
         *       "password": "correct horse battery staple"
         *     }
         */
        OperatorPasswordChange: {
            code: string;
            current_password: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
        };
        /**
         * @example {
         *       "access_token": "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIwMTk3NmYyZSJ9.c2lnbmF0dXJl",
         *       "expires_in": 600,
         *       "operator": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "email": "ada@acme.test",
         *         "role": "viewer"
         *       }
         *     }
         */
        OperatorSession: {
            access_token: string;
            expires_in: number;
            operator: {
                /**
                 * Format: email
                 * @example ada@acme.test
                 */
                email: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @enum {string} */
                role: "viewer" | "support" | "admin";
            };
        };
        /**
         * @example {
         *       "email": "ada@acme.test",
         *       "password": "correct horse battery staple",
         *       "code": "492039"
         *     }
         */
        OperatorSignIn: {
            code?: string;
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
        };
        /**
         * @example {
         *       "challenge": "3q2-7w8mQ0m0pX0b5l1Zy2m7o1o0b1Jm",
         *       "options": {}
         *     }
         */
        PasskeyChallenge: {
            challenge: string;
            options: {
                [key: string]: unknown;
            };
        };
        /**
         * @example {
         *       "challenge": "3q2-7w8mQ0m0pX0b5l1Zy2m7o1o0b1Jm",
         *       "response": {
         *         "id": "KEDetxZcUfinhVi6Za5nZQ",
         *         "rawId": "KEDetxZcUfinhVi6Za5nZQ",
         *         "type": "public-key",
         *         "response": {
         *           "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0",
         *           "authenticatorData": "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2M",
         *           "signature": "MEUCIQDx1b7Zl0v3r2p9K4mJ8w",
         *           "userHandle": "AZdvLmpLfMOaMV0vix4MRw"
         *         },
         *         "clientExtensionResults": {}
         *       },
         *       "tenant": "acme"
         *     }
         */
        PasskeySignIn: {
            challenge: string;
            response: {
                /** @default {} */
                clientExtensionResults: Record<string, unknown>;
                id: string;
                rawId: string;
                response: {
                    authenticatorData: string;
                    clientDataJSON: string;
                    signature: string;
                    userHandle?: string | null;
                };
                /** @constant */
                type: "public-key";
            };
            tenant?: string;
        };
        /**
         * @example {
         *       "current_password": "correct horse battery staple",
         *       "password": "correct horse battery staple"
         *     }
         */
        PasswordChange: {
            current_password: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
        };
        /**
         * @example {
         *       "email": "ada@acme.test"
         *     }
         */
        PasswordReset: {
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
        };
        /**
         * @example {
         *       "token": "pt_7LhKdPz3Gu9Ea5Ti6Co4fTq0Yb1RrW2vN8sJmXc",
         *       "password": "correct horse battery staple"
         *     }
         */
        PasswordResetConfirmation: {
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
            token: string;
        };
        /**
         * @example {
         *       "user": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "email": "ada@acme.test",
         *         "name": "Acme",
         *         "locale": "en",
         *         "email_verified_at": "2026-11-23T09:30:00.000Z",
         *         "created_at": "2026-11-23T09:30:00.000Z"
         *       },
         *       "memberships": [
         *         {
         *           "tenant_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *           "slug": "acme",
         *           "name": "Acme",
         *           "role": "viewer",
         *           "created_at": "2026-11-23T09:30:00.000Z"
         *         }
         *       ],
         *       "sessions": [
         *         {
         *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *           "tenant_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *           "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
         *           "country": "DE",
         *           "created_at": "2026-11-23T09:30:00.000Z",
         *           "last_used_at": "2026-11-23T09:30:00.000Z",
         *           "expires_at": "2026-11-23T09:30:00.000Z"
         *         }
         *       ],
         *       "factors": [
         *         {
         *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *           "type": "totp",
         *           "name": "Acme",
         *           "created_at": "2026-11-23T09:30:00.000Z",
         *           "last_used_at": "2026-11-23T09:30:00.000Z"
         *         }
         *       ]
         *     }
         */
        PersonalData: {
            factors: components["schemas"]["Factor"][];
            memberships: {
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                created_at: string;
                /** @example Acme */
                name: string;
                /** @enum {string} */
                role: "viewer" | "member" | "admin" | "owner";
                /** @example acme */
                slug: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                tenant_id: string;
            }[];
            sessions: {
                country: string | null;
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                created_at: string;
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                expires_at: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                last_used_at: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                tenant_id: string;
                user_agent: string;
            }[];
            user: {
                /**
                 * Format: date-time
                 * @example 2026-11-23T09:30:00.000Z
                 */
                created_at: string;
                /**
                 * Format: email
                 * @example ada@acme.test
                 */
                email: string;
                email_verified_at: string | null;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                locale: string | null;
                name: string | null;
            };
        };
        /**
         * @description What went wrong (RFC 9457).
         * @example {
         *       "code": "not_found",
         *       "type": "/problems/not_found",
         *       "title": "Not found",
         *       "status": 404,
         *       "detail": "There is no such thing here. Check the path and the id.",
         *       "instance": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "errors": [
         *         {
         *           "pointer": "/name",
         *           "detail": "Required."
         *         }
         *       ],
         *       "violated-policies": [
         *         "minute"
         *       ],
         *       "challenge": "3q2-7w8mQ0m0pX0b5l1Zy2m7o1o0b1Jm",
         *       "methods": [
         *         "totp"
         *       ],
         *       "options": {},
         *       "tenants": [
         *         {
         *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *           "slug": "acme",
         *           "name": "Acme"
         *         }
         *       ],
         *       "error": "invalid_grant"
         *     }
         */
        Problem: {
            /** @description What to send back with the proof of a second factor. */
            challenge?: string;
            /**
             * @description The problem's short name. /problems/{code} explains it; more may be added.
             * @example not_found
             */
            code: string;
            /**
             * @description What to do about it.
             * @example There is no such thing here. Check the path and the id.
             */
            detail: string;
            /** @description The error code that OAuth clients expect (RFC 6749, 5.2). */
            error?: string;
            /** @description What is not valid, as JSON pointers (RFC 6901) into the body, the query or the headers. */
            errors?: {
                /** @example Required. */
                detail: string;
                /** @example /name */
                pointer: string;
            }[];
            /**
             * @description The request's X-Request-Id.
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            instance: string;
            /** @description By what the second factor can be proved. */
            methods?: ("totp" | "passkey" | "recovery_code")[];
            /** @description What the browser's passkeys are asked with (PublicKeyCredentialRequestOptionsJSON). */
            options?: Record<string, unknown>;
            /**
             * Format: int32
             * @example 404
             */
            status: number;
            /** @description The tenants that stand in the way, or of which one is to be chosen. */
            tenants?: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
                /** @example acme */
                slug: string;
            }[];
            /**
             * @description What is wrong, in a few words.
             * @example Not found
             */
            title: string;
            /**
             * Format: uri-reference
             * @description Which problem it is, and where it is explained.
             * @example /problems/not_found
             */
            type: string;
            /** @description The limits that are used up. */
            "violated-policies"?: string[];
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "name": "Acme",
         *       "description": "What is left to do before spring",
         *       "status": "active",
         *       "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "updated_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Project: {
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /** Format: uuid */
            created_by: string;
            description: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @example Acme */
            name: string;
            /** @enum {string} */
            status: "active" | "archived";
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            updated_at: string;
        };
        /**
         * @example {
         *       "name": "Acme",
         *       "description": "What is left to do before spring",
         *       "status": "active"
         *     }
         */
        ProjectPatch: {
            description?: string | null;
            /** @example Acme */
            name?: string;
            status?: ("active" | "archived") | null;
        };
        /**
         * @example {
         *       "recovery_codes": [
         *         "7q4m-k2xv-9d3t"
         *       ]
         *     }
         */
        RecoveryCodes: {
            recovery_codes: string[];
        };
        /**
         * @example {
         *       "refresh_token": "pr_Yb1RrW2vN8sJmXc7LhKdPz3Gu9Ea5Ti6Co4fTq0"
         *     }
         */
        Refresh: {
            refresh_token?: string;
        };
        /**
         * @example {
         *       "access_token": "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIwMTk3NmYyZSJ9.c2lnbmF0dXJl",
         *       "token_type": "Bearer",
         *       "expires_in": 600,
         *       "refresh_token": "pr_Yb1RrW2vN8sJmXc7LhKdPz3Gu9Ea5Ti6Co4fTq0",
         *       "session": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
         *       },
         *       "user": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "email": "ada@acme.test"
         *       },
         *       "tenant": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "slug": "acme",
         *         "name": "Acme",
         *         "role": "viewer"
         *       }
         *     }
         */
        Session: {
            access_token: string;
            expires_in: number;
            refresh_token: string;
            session: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
            };
            tenant: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
                /** @enum {string} */
                role: "viewer" | "member" | "admin" | "owner";
                /** @example acme */
                slug: string;
            };
            /** @constant */
            token_type: "Bearer";
            user: {
                /**
                 * Format: email
                 * @example ada@acme.test
                 */
                email: string;
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
            };
        };
        /**
         * @example {
         *       "email": "ada@acme.test",
         *       "password": "correct horse battery staple",
         *       "tenant": "acme"
         *     }
         */
        SignIn: {
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
            tenant?: string;
        };
        /**
         * @example {
         *       "email": "ada@acme.test",
         *       "password": "correct horse battery staple",
         *       "tenant": {
         *         "name": "Acme",
         *         "slug": "acme"
         *       }
         *     }
         */
        SignUp: {
            /**
             * Format: email
             * @example ada@acme.test
             */
            email: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password: string;
            tenant: {
                /** @example Acme */
                name: string;
                slug: string;
            };
        };
        /**
         * @example {
         *       "password": "correct horse battery staple"
         *     }
         */
        StepUp: {
            challenge?: string;
            code?: string;
            /**
             * Format: password
             * @example correct horse battery staple
             */
            password?: string;
            recovery_code?: string;
            response?: {
                /** @default {} */
                clientExtensionResults: Record<string, unknown>;
                id: string;
                rawId: string;
                response: {
                    authenticatorData: string;
                    clientDataJSON: string;
                    signature: string;
                    userHandle?: string | null;
                };
                /** @constant */
                type: "public-key";
            };
        };
        /**
         * @example {
         *       "mode": "off"
         *     }
         */
        SupportAccess: {
            /** @enum {string} */
            mode: "off" | "ask" | "on";
        };
        /**
         * @example {
         *       "mode": "off"
         *     }
         */
        SupportAccessPatch: {
            /** @enum {string} */
            mode?: "off" | "ask" | "on";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "status": "asked",
         *       "operator": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "name": "Acme"
         *       },
         *       "reason": "The customer asked for it",
         *       "minutes": 30,
         *       "write": true,
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "approved_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "started_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z",
         *       "ended_at": "2026-11-23T09:30:00.000Z",
         *       "end_reason": "ended",
         *       "ended_by": {
         *         "type": "user",
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
         *       },
         *       "access_token": "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIwMTk3NmYyZSJ9.c2lnbmF0dXJl",
         *       "token_type": "Bearer",
         *       "expires_in": 600
         *     }
         */
        SupportGrant: {
            access_token: string;
            approved_by: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            end_reason: ("ended" | "replaced" | "mode" | "approver" | "operator" | "tenant_status" | "expired" | "unanswered") | null;
            ended_at: string | null;
            ended_by: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @enum {string} */
                type: "user" | "operator";
            } | null;
            expires_at: string | null;
            expires_in: number;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            minutes: number;
            operator: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
            };
            reason: string;
            started_at: string | null;
            /** @enum {string} */
            status: "asked" | "active" | "ended";
            /** @constant */
            token_type: "Bearer";
            write: boolean;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "status": "asked",
         *       "operator": {
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *         "name": "Acme"
         *       },
         *       "reason": "The customer asked for it",
         *       "minutes": 30,
         *       "write": true,
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "approved_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "started_at": "2026-11-23T09:30:00.000Z",
         *       "expires_at": "2026-11-23T09:30:00.000Z",
         *       "ended_at": "2026-11-23T09:30:00.000Z",
         *       "end_reason": "ended",
         *       "ended_by": {
         *         "type": "user",
         *         "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
         *       }
         *     }
         */
        SupportSession: {
            approved_by: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            end_reason: ("ended" | "replaced" | "mode" | "approver" | "operator" | "tenant_status" | "expired" | "unanswered") | null;
            ended_at: string | null;
            ended_by: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @enum {string} */
                type: "user" | "operator";
            } | null;
            expires_at: string | null;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            minutes: number;
            operator: {
                /**
                 * Format: uuid
                 * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                 */
                id: string;
                /** @example Acme */
                name: string;
            };
            reason: string;
            started_at: string | null;
            /** @enum {string} */
            status: "asked" | "active" | "ended";
            write: boolean;
        };
        /**
         * @example {
         *       "tenant": "acme"
         *     }
         */
        Switch: {
            tenant: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "project_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "title": "Order the tiles",
         *       "notes": "The grey ones, as in the kitchen",
         *       "status": "todo",
         *       "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "due_on": "2026-12-24",
         *       "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "updated_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Task: {
            assignee_id: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /** Format: uuid */
            created_by: string;
            due_on: string | null;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            notes: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            project_id: string;
            /** @enum {string} */
            status: "todo" | "doing" | "done";
            /** @example Order the tiles */
            title: string;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            updated_at: string;
        };
        /**
         * @example {
         *       "title": "Order the tiles",
         *       "notes": "The grey ones, as in the kitchen",
         *       "status": "todo",
         *       "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "due_on": "2026-12-24"
         *     }
         */
        TaskPatch: {
            assignee_id?: string | null;
            due_on?: string | null;
            notes?: string | null;
            status?: ("todo" | "doing" | "done") | null;
            /** @example Order the tiles */
            title?: string;
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "slug": "acme",
         *       "name": "Acme",
         *       "plan": "solo",
         *       "status": "active",
         *       "closes_at": "2026-11-23T09:30:00.000Z",
         *       "require_second_factor": true,
         *       "placement": {
         *         "kind": "shared",
         *         "region": "eu-central-1"
         *       },
         *       "created_at": "2026-11-23T09:30:00.000Z",
         *       "updated_at": "2026-11-23T09:30:00.000Z"
         *     }
         */
        Tenant: {
            closes_at: string | null;
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            created_at: string;
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @example Acme */
            name: string;
            placement: {
                /** @enum {string} */
                kind: "shared" | "schema" | "dedicated";
                region: string | null;
            };
            /** @enum {string} */
            plan: "solo" | "startup" | "enterprise";
            require_second_factor: boolean;
            /** @example acme */
            slug: string;
            /** @enum {string} */
            status: "active" | "read_only" | "suspended" | "closing" | "erasing";
            /**
             * Format: date-time
             * @example 2026-11-23T09:30:00.000Z
             */
            updated_at: string;
        };
        /**
         * @example {
         *       "plan": "solo",
         *       "status": "active",
         *       "limits": [
         *         {
         *           "name": "minute",
         *           "limit": 3000,
         *           "window": "month"
         *         }
         *       ],
         *       "reason": "The customer asked for it"
         *     }
         */
        TenantChange: {
            limits?: {
                /** Format: int64 */
                limit: number;
                name: string;
                window: "month" | number;
            }[] | null;
            /** @enum {string} */
            plan?: "solo" | "startup" | "enterprise";
            reason?: string;
            /** @enum {string} */
            status?: "active" | "read_only" | "suspended" | "closing";
        };
        /**
         * @example {
         *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
         *       "slug": "acme",
         *       "name": "Acme",
         *       "role": "viewer"
         *     }
         */
        TenantMembership: {
            /**
             * Format: uuid
             * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
             */
            id: string;
            /** @example Acme */
            name: string;
            /** @enum {string} */
            role: "viewer" | "member" | "admin" | "owner";
            /** @example acme */
            slug: string;
        };
        /**
         * @example {
         *       "name": "Acme",
         *       "slug": "acme",
         *       "require_second_factor": true
         *     }
         */
        TenantPatch: {
            /** @example Acme */
            name?: string;
            require_second_factor?: boolean;
            slug?: string;
        };
        /**
         * @example {
         *       "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
         *       "subject_token": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkLmFjbWUudGVzdCJ9.c2lnbmF0dXJl",
         *       "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
         *       "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
         *       "audience": "acme"
         *     }
         */
        TokenRequest: {
            actor_token?: unknown;
            audience?: string;
            /** @constant */
            grant_type: "urn:ietf:params:oauth:grant-type:token-exchange";
            /** @constant */
            requested_token_type?: "urn:ietf:params:oauth:token-type:access_token";
            subject_token: string;
            /** @enum {string} */
            subject_token_type: "urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:id_token" | "urn:ietf:params:oauth:token-type:access_token";
        };
        /**
         * @example {
         *       "data": [
         *         {
         *           "start": "2026-11-23T00:00:00.000Z",
         *           "requests": 1204,
         *           "refused": 3,
         *           "units": 1310,
         *           "errors": 0,
         *           "bytes_out": 1048576,
         *           "rows": 4210,
         *           "bytes_stored": 20971520
         *         }
         *       ]
         *     }
         */
        UsageReport: {
            data: {
                bytes_out: number;
                bytes_stored: number | null;
                errors: number;
                refused: number;
                requests: number;
                rows: number | null;
                start: string;
                units: number;
            }[];
        };
        /**
         * @example {
         *       "start": "2026-11-23T00:00:00.000Z",
         *       "tenants": 42,
         *       "active": 12,
         *       "requests": 1204,
         *       "refused": 3,
         *       "units": 1310,
         *       "errors": 0,
         *       "bytes_out": 1048576,
         *       "rows": 4210,
         *       "bytes_stored": 20971520
         *     }
         */
        UsageTotal: {
            active: number;
            bytes_out: number;
            bytes_stored: number | null;
            errors: number;
            refused: number;
            requests: number;
            rows: number | null;
            start: string;
            tenants: number;
            units: number;
        };
        /**
         * @example {
         *       "reason": "The customer asked for it"
         *     }
         */
        WithReason: {
            reason: string;
        };
    };
    responses: {
        /** @description Already a member (`already_member`) */
        already_member: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/already_member";
                };
            };
        };
        /** @description The body did not arrive in time (`body_timeout`) */
        body_timeout: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 408;
                    /** @enum {unknown} */
                    type?: "/problems/body_timeout";
                };
            };
        };
        /** @description The body is too large (`body_too_large`) */
        body_too_large: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 413;
                    /** @enum {unknown} */
                    type?: "/problems/body_too_large";
                };
            };
        };
        /** @description The request costs more than a limit allows at once (`cost_above_limit`) */
        cost_above_limit: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/cost_above_limit";
                };
            };
        };
        /** @description The address belongs to another account (`email_taken`) */
        email_taken: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/email_taken";
                };
            };
        };
        /** @description A tenant requires a second factor (`factor_required`) */
        factor_required: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/factor_required";
                };
            };
        };
        /** @description The first request with this key is not done (`idempotency_key_in_use`) */
        idempotency_key_in_use: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/idempotency_key_in_use";
                };
            };
        };
        /** @description The route takes no Idempotency-Key (`idempotency_key_unsupported`) */
        idempotency_key_unsupported: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/idempotency_key_unsupported";
                };
            };
        };
        /** @description The route takes no Idempotency-Key (`idempotency_key_unsupported`); The request costs more than a limit allows at once (`cost_above_limit`) */
        "idempotency_key_unsupported.cost_above_limit": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/idempotency_key_unsupported" | "/problems/cost_above_limit";
                };
            };
        };
        /** @description The route takes no Idempotency-Key (`idempotency_key_unsupported`); The token request is not valid (`invalid_token_request`); The grant type is not supported (`unsupported_grant_type`); The subject token is not accepted (`subject_token_refused`) */
        "idempotency_key_unsupported.invalid_token_request.unsupported_grant_type.subject_token_refused": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/idempotency_key_unsupported" | "/problems/invalid_token_request" | "/problems/unsupported_grant_type" | "/problems/subject_token_refused";
                };
            };
        };
        /** @description Not allowed (`insufficient_scope`) */
        insufficient_scope: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/insufficient_scope";
                };
            };
        };
        /** @description Not allowed (`insufficient_scope`); The tenant lets no operator in (`support_access_off`) */
        "insufficient_scope.support_access_off": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/insufficient_scope" | "/problems/support_access_off";
                };
            };
        };
        /** @description Not allowed (`insufficient_scope`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "insufficient_scope.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/insufficient_scope" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description Something went wrong here (`internal`) */
        internal: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 500;
                    /** @enum {unknown} */
                    type?: "/problems/internal";
                };
            };
        };
        /** @description The cursor is not valid here (`invalid_cursor`) */
        invalid_cursor: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_cursor";
                };
            };
        };
        /** @description The cursor is not valid here (`invalid_cursor`); The request costs more than a limit allows at once (`cost_above_limit`) */
        "invalid_cursor.cost_above_limit": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_cursor" | "/problems/cost_above_limit";
                };
            };
        };
        /** @description A header is not well formed (`invalid_header`); The route takes no Idempotency-Key (`idempotency_key_unsupported`); The request costs more than a limit allows at once (`cost_above_limit`) */
        "invalid_header.idempotency_key_unsupported.cost_above_limit": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_header" | "/problems/idempotency_key_unsupported" | "/problems/cost_above_limit";
                };
            };
        };
        /** @description The input is not valid (`invalid_input`) */
        invalid_input: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 422;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_input";
                };
            };
        };
        /** @description The input is not valid (`invalid_input`); The key belongs to another request (`idempotency_key_reused`) */
        "invalid_input.idempotency_key_reused": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 422;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_input" | "/problems/idempotency_key_reused";
                };
            };
        };
        /** @description The body is not JSON (`invalid_json`); The route takes no Idempotency-Key (`idempotency_key_unsupported`) */
        "invalid_json.idempotency_key_unsupported": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_json" | "/problems/idempotency_key_unsupported";
                };
            };
        };
        /** @description The body is not JSON (`invalid_json`); The route takes no Idempotency-Key (`idempotency_key_unsupported`); The request costs more than a limit allows at once (`cost_above_limit`) */
        "invalid_json.idempotency_key_unsupported.cost_above_limit": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_json" | "/problems/idempotency_key_unsupported" | "/problems/cost_above_limit";
                };
            };
        };
        /** @description The body is not JSON (`invalid_json`); A header is not well formed (`invalid_header`); The request costs more than a limit allows at once (`cost_above_limit`) */
        "invalid_json.invalid_header.cost_above_limit": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_json" | "/problems/invalid_header" | "/problems/cost_above_limit";
                };
            };
        };
        /** @description The body is not JSON (`invalid_json`); A header is not well formed (`invalid_header`); The route takes no Idempotency-Key (`idempotency_key_unsupported`) */
        "invalid_json.invalid_header.idempotency_key_unsupported": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_json" | "/problems/invalid_header" | "/problems/idempotency_key_unsupported";
                };
            };
        };
        /** @description The body is not JSON (`invalid_json`); A header is not well formed (`invalid_header`); The route takes no Idempotency-Key (`idempotency_key_unsupported`); The request costs more than a limit allows at once (`cost_above_limit`) */
        "invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 400;
                    /** @enum {unknown} */
                    type?: "/problems/invalid_json" | "/problems/invalid_header" | "/problems/idempotency_key_unsupported" | "/problems/cost_above_limit";
                };
            };
        };
        /** @description The invitation is no longer valid (`invitation_gone`) */
        invitation_gone: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 410;
                    /** @enum {unknown} */
                    type?: "/problems/invitation_gone";
                };
            };
        };
        /** @description The issuer is registered already (`issuer_exists`) */
        issuer_exists: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/issuer_exists";
                };
            };
        };
        /** @description Something else is done with the tenant's content (`job_under_way`) */
        job_under_way: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/job_under_way";
                };
            };
        };
        /** @description A tenant keeps an owner (`last_owner`) */
        last_owner: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/last_owner";
                };
            };
        };
        /** @description The link is no longer valid (`link_gone`) */
        link_gone: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 410;
                    /** @enum {unknown} */
                    type?: "/problems/link_gone";
                };
            };
        };
        /** @description The mail could not be sent (`mail_not_sent`); This deployment sends no mail (`mail_not_set_up`); A part of the service is out of reach (`unavailable`) */
        "mail_not_sent.mail_not_set_up.unavailable": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 503;
                    /** @enum {unknown} */
                    type?: "/problems/mail_not_sent" | "/problems/mail_not_set_up" | "/problems/unavailable";
                };
            };
        };
        /** @description This deployment sends no mail (`mail_not_set_up`); A part of the service is out of reach (`unavailable`) */
        "mail_not_set_up.unavailable": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 503;
                    /** @enum {unknown} */
                    type?: "/problems/mail_not_set_up" | "/problems/unavailable";
                };
            };
        };
        /** @description The member is in other tenants too (`member_elsewhere`) */
        member_elsewhere: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/member_elsewhere";
                };
            };
        };
        /** @description The account has no address (`no_address`) */
        no_address: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/no_address";
                };
            };
        };
        /** @description The account is in no tenant (`no_tenant`); Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "no_tenant.insufficient_scope.wrong_host.tenant_suspended.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/no_tenant" | "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description Not found (`not_found`) */
        not_found: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 404;
                    /** @enum {unknown} */
                    type?: "/problems/not_found";
                };
            };
        };
        /** @description The account is the last owner of tenants (`owner_of_tenants`) */
        owner_of_tenants: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/owner_of_tenants";
                };
            };
        };
        /** @description The resource has changed (`precondition_failed`) */
        precondition_failed: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 412;
                    /** @enum {unknown} */
                    type?: "/problems/precondition_failed";
                };
            };
        };
        /** @description Over the limit (`quota_exceeded`); Too many requests at once (`too_many_attempts`) */
        "quota_exceeded.too_many_attempts": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "Retry-After": components["headers"]["Retry-After"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 429;
                    /** @enum {unknown} */
                    type?: "https://iana.org/assignments/http-problem-types#quota-exceeded" | "/problems/too_many_attempts";
                };
            };
        };
        /** @description Other rows refer to it (`row_in_use`) */
        row_in_use: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/row_in_use";
                };
            };
        };
        /** @description A second factor is needed (`second_factor_required`); The tenant requires a second factor (`second_factor_enrolment_required`) */
        "second_factor_required.second_factor_enrolment_required": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 401;
                    /** @enum {unknown} */
                    type?: "/problems/second_factor_required" | "/problems/second_factor_enrolment_required";
                };
            };
        };
        /** @description The slug is taken (`slug_taken`) */
        slug_taken: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/slug_taken";
                };
            };
        };
        /** @description Prove again who you are (`step_up_required`); The address is not confirmed (`email_not_verified`); Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "step_up_required.email_not_verified.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/step_up_required" | "/problems/email_not_verified" | "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description Prove again who you are (`step_up_required`); Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/step_up_required" | "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description No owner has approved yet (`support_session_asked`); The session of support is over (`support_session_over`) */
        "support_session_asked.support_session_over": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/support_session_asked" | "/problems/support_session_over";
                };
            };
        };
        /** @description The session of support is over (`support_session_over`) */
        support_session_over: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/support_session_over";
                };
            };
        };
        /** @description The tenant's status does not allow this (`tenant_state`) */
        tenant_state: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/tenant_state";
                };
            };
        };
        /** @description The tenant's status does not allow this (`tenant_state`); Something else is done with the tenant's content (`job_under_way`) */
        "tenant_state.job_under_way": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/tenant_state" | "/problems/job_under_way";
                };
            };
        };
        /** @description Too many API keys (`too_many_api_keys`) */
        too_many_api_keys: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/too_many_api_keys";
                };
            };
        };
        /** @description Too many API keys (`too_many_api_keys`); The API key has expired (`api_key_expired`) */
        "too_many_api_keys.api_key_expired": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/too_many_api_keys" | "/problems/api_key_expired";
                };
            };
        };
        /** @description Too many requests at once (`too_many_attempts`) */
        too_many_attempts: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "Retry-After": components["headers"]["Retry-After"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 429;
                    /** @enum {unknown} */
                    type?: "/problems/too_many_attempts";
                };
            };
        };
        /** @description Too many second factors (`too_many_factors`) */
        too_many_factors: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 409;
                    /** @enum {unknown} */
                    type?: "/problems/too_many_factors";
                };
            };
        };
        /** @description Not signed in (`unauthenticated`) */
        unauthenticated: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 401;
                    /** @enum {unknown} */
                    type?: "/problems/unauthenticated";
                };
            };
        };
        /** @description Not signed in (`unauthenticated`); A second factor is needed (`second_factor_required`) */
        "unauthenticated.second_factor_required": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 401;
                    /** @enum {unknown} */
                    type?: "/problems/unauthenticated" | "/problems/second_factor_required";
                };
            };
        };
        /** @description Not signed in (`unauthenticated`); A second factor is needed (`second_factor_required`); The tenant requires a second factor (`second_factor_enrolment_required`) */
        "unauthenticated.second_factor_required.second_factor_enrolment_required": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 401;
                    /** @enum {unknown} */
                    type?: "/problems/unauthenticated" | "/problems/second_factor_required" | "/problems/second_factor_enrolment_required";
                };
            };
        };
        /** @description A part of the service is out of reach (`unavailable`) */
        unavailable: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description After so many seconds the request may pass. */
                "Retry-After"?: number;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 503;
                    /** @enum {unknown} */
                    type?: "/problems/unavailable";
                };
            };
        };
        /** @description The body's media type is not supported (`unsupported_media_type`) */
        unsupported_media_type: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 415;
                    /** @enum {unknown} */
                    type?: "/problems/unsupported_media_type";
                };
            };
        };
        /** @description The second factor is not right (`wrong_factor`); Prove again who you are (`step_up_required`); Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "wrong_factor.step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/wrong_factor" | "/problems/step_up_required" | "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "wrong_host.tenant_suspended.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description The password is not right (`wrong_password`) */
        wrong_password: {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/wrong_password";
                };
            };
        };
        /** @description The password is not right (`wrong_password`); Not allowed (`insufficient_scope`) */
        "wrong_password.insufficient_scope": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/wrong_password" | "/problems/insufficient_scope";
                };
            };
        };
        /** @description The password is not right (`wrong_password`); Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "wrong_password.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/wrong_password" | "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
        /** @description The password is not right (`wrong_password`); The second factor is not right (`wrong_factor`); Not allowed (`insufficient_scope`); The host is another tenant's (`wrong_host`); The tenant is suspended (`tenant_suspended`); The tenant can only be read (`tenant_read_only`); The tenant is being closed (`tenant_closing`); The tenant is being erased (`tenant_erasing`) */
        "wrong_password.wrong_factor.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing": {
            headers: {
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                /** @description What the bearer token lacks (RFC 6750). */
                "WWW-Authenticate"?: string;
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"] & {
                    /** @constant */
                    status?: 403;
                    /** @enum {unknown} */
                    type?: "/problems/wrong_password" | "/problems/wrong_factor" | "/problems/insufficient_scope" | "/problems/wrong_host" | "/problems/tenant_suspended" | "/problems/tenant_read_only" | "/problems/tenant_closing" | "/problems/tenant_erasing";
                };
            };
        };
    };
    parameters: {
        /** @description The `next_cursor` of the page before. */
        cursor: string;
        /** @description The row's id. */
        id: string;
        /** @description Makes it safe to repeat the request: within 24 hours it gets its first answer again. */
        "Idempotency-Key": string;
        /** @description Only if the row still has this ETag, or one of these; `*` is any. */
        "If-Match": string;
        /** @description Answers 304, without a body, while this is the ETag. */
        "If-None-Match": string;
        /** @description How many to answer at most. */
        limit: number;
        /** @description Finds the rows that hold this text, in upper or lower case. */
        q: string;
        /** @description The id of the session of support. */
        session_id: string;
        /** @description The order: by this, or in reverse with `-` before it. Newest first by default. */
        sort: "name" | "-name" | "created_at" | "-created_at" | "requests" | "-requests" | "refused" | "-refused" | "rows" | "-rows" | "bytes_stored" | "-bytes_stored" | "cost" | "-cost";
        /** @description The user's id. */
        user_id: string;
    };
    requestBodies: never;
    headers: {
        /** @description The version of what is answered. */
        ETag: string;
        /** @description `true` when this is the first answer again. */
        "Idempotency-Replayed": "true";
        /** @description Where the new row is. */
        Location: string;
        /** @description Of each policy, where a tenant's were asked: `r` cost units remain, and more come back in `t` seconds. */
        RateLimit: string;
        /** @description Each of the tenant's policies: `q` cost units in `w` seconds. */
        "RateLimit-Policy": string;
        /** @description After so many seconds the request may pass. */
        "Retry-After": number;
        /** @description What the bearer token lacks (RFC 6750). */
        "WWW-Authenticate": string;
        /** @description The request's name in every log: the client's own if well formed, else a new one. */
        "X-Request-Id": string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    getHome: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Where to go from here: JSON, or a page for a browser */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Home"];
                    "text/html": string;
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getWellKnownJwksJson: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The public keys that verify access tokens */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeySet"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getAccountPage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page where people sign up, sign in and look after their account */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getAccountFile: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                file: "account.css" | "account.js";
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A script or stylesheet of the page at /account */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/css": string;
                    "text/javascript": string;
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getDocs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description This page, to read and try the API */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getDoc: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                file: "page.js" | "scalar.js";
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A script of the page at /docs */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/javascript": string;
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Is the Worker up */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getOpenapiJson: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description This document */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /** @example {} */
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getConsole: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page where operators look after tenants */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getConsoleFile: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                file: "console.css" | "console.js" | "uplot.js";
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A script or stylesheet of the console */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/css": string;
                    "text/javascript": string;
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getProblems: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The problems that there are */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                    "text/plain": string;
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getProblem: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                code: "invalid_json" | "invalid_header" | "idempotency_key_unsupported" | "invalid_cursor" | "invalid_token_request" | "unsupported_grant_type" | "subject_token_refused" | "cost_above_limit" | "unauthenticated" | "second_factor_required" | "second_factor_enrolment_required" | "wrong_password" | "wrong_factor" | "step_up_required" | "email_not_verified" | "no_tenant" | "no_address" | "insufficient_scope" | "support_access_off" | "wrong_host" | "tenant_suspended" | "tenant_read_only" | "tenant_closing" | "tenant_erasing" | "tenant_state" | "support_session_asked" | "support_session_over" | "job_under_way" | "not_found" | "method_not_allowed" | "body_timeout" | "idempotency_key_in_use" | "value_taken" | "row_in_use" | "too_many_api_keys" | "api_key_expired" | "slug_taken" | "last_owner" | "already_member" | "invitation_gone" | "link_gone" | "email_taken" | "owner_of_tenants" | "member_elsewhere" | "too_many_factors" | "factor_required" | "issuer_exists" | "precondition_failed" | "body_too_large" | "unsupported_media_type" | "invalid_input" | "idempotency_key_reused" | "quota_exceeded" | "too_many_attempts" | "internal" | "mail_not_sent" | "mail_not_set_up" | "unavailable";
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What a problem means */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                    "text/plain": string;
                };
            };
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getReady: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Do Postgres and the Durable Objects answer */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listApiKeys: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List API keys, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "name": "Nightly import",
                     *           "scopes": [
                     *             "projects:read"
                     *           ],
                     *           "hint": "pw_live_4fTq",
                     *           "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "expires_at": "2026-11-23T09:30:00.000Z",
                     *           "last_used_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["ApiKey"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes it safe to repeat the request: within 24 hours it gets its first answer again. */
                "Idempotency-Key"?: components["parameters"]["Idempotency-Key"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewApiKey"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Idempotency-Replayed": components["headers"]["Idempotency-Replayed"];
                    Location: components["headers"]["Location"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MadeApiKey"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["too_many_api_keys"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input.idempotency_key_reused"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApiKey"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            412: components["responses"]["precondition_failed"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    rotateApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ApiKeyRotation"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location: components["headers"]["Location"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MadeApiKey"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["too_many_api_keys.api_key_expired"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listAuditEvents: {
        parameters: {
            query?: {
                action?: "create" | "update" | "delete";
                actor_id?: string;
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                resource?: string;
                resource_id?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List who changed what, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "actor": {
                     *             "type": "user",
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *             "name": "Acme"
                     *           },
                     *           "action": "create",
                     *           "resource": "projects",
                     *           "resource_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "changed": [
                     *             "name"
                     *           ],
                     *           "request_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "reason": "The customer asked for it",
                     *           "created_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["AuditEvent"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    confirmEmailChange: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkToken"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["email_taken"];
            410: components["responses"]["link_gone"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    undoEmailChange: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkToken"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["email_taken"];
            410: components["responses"]["link_gone"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createEmailVerification: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Mail the link that confirms your address again */
            202: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["no_address"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["mail_not_set_up.unavailable"];
        };
    };
    confirmEmail: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailConfirmation"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            403: components["responses"]["wrong_password"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["slug_taken"];
            410: components["responses"]["link_gone"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getErasure: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The receipt of a tenant's erasure: a JWS, null while it is under way */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *       "receipt": "eyJhbGciOiJFZDI1NTE5In0.eyJlcmFzZWQiOnRydWV9.c2lnbmF0dXJl"
                     *     }
                     */
                    "application/json": {
                        /**
                         * Format: uuid
                         * @example 01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47
                         */
                        id: string;
                        receipt: string | null;
                    };
                };
            };
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listInvitations: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the invitations that nobody has accepted, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "email": "ada@acme.test",
                     *           "role": "viewer",
                     *           "invited_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "expires_at": "2026-11-23T09:30:00.000Z",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Invitation"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewInvitation"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location: components["headers"]["Location"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invitation"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.email_not_verified.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["already_member"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["mail_not_sent.mail_not_set_up.unavailable"];
        };
    };
    getInvitation: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invitation"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteInvitation: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            412: components["responses"]["precondition_failed"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    acceptInvitation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Acceptance"];
            };
        };
        responses: {
            /** @description Accept an invitation; a password becomes that of the account, and ends its earlier sessions */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["second_factor_required.second_factor_enrolment_required"];
            403: components["responses"]["insufficient_scope.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            408: components["responses"]["body_timeout"];
            410: components["responses"]["invitation_gone"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listIssuers: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List trusted issuers, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "issuer": "https://id.acme.test",
                     *           "audience": "acme",
                     *           "role_claim": "groups",
                     *           "role_map": {},
                     *           "default_role": "viewer",
                     *           "email_domains": [
                     *             "acme.test"
                     *           ],
                     *           "just_in_time": true,
                     *           "registered_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "status": "active",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Issuer"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createIssuer: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewIssuer"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location: components["headers"]["Location"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Issuer"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["issuer_exists"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getIssuer: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Issuer"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteIssuer: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["last_owner"];
            412: components["responses"]["precondition_failed"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateIssuer: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["IssuerPatch"];
                "application/merge-patch+json": components["schemas"]["IssuerPatch"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Issuer"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Who is calling */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["owner_of_tenants"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MePatch"];
                "application/merge-patch+json": components["schemas"]["MePatch"];
            };
        };
        responses: {
            /** @description Change your name and language (merge patch) */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getMyData: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What is stored about you: your account, tenants, sessions and second factors */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonalData"];
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    changeEmail: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailChange"];
            };
        };
        responses: {
            /** @description Change your address, once the link that is mailed to the new one is opened */
            202: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["wrong_password.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["mail_not_set_up.unavailable"];
        };
    };
    listFactors: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List your second factors, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "type": "totp",
                     *           "name": "Acme",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "last_used_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": null
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Factor"][];
                        next_cursor: null;
                    };
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewFactor"];
            };
        };
        responses: {
            /** @description Begin to add a second factor; it counts once it is confirmed */
            201: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FactorSetup"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["too_many_factors"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteFactor: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["factor_required"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateFactor: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FactorPatch"];
                "application/merge-patch+json": components["schemas"]["FactorPatch"];
            };
        };
        responses: {
            /** @description Rename a second factor (merge patch) */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Factor"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    confirmFactor: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["FactorConfirmation"];
            };
        };
        responses: {
            /** @description Confirm a second factor by a proof of it; the first one comes with recovery codes */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConfirmedFactor"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["wrong_factor.step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    changePassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordChange"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["wrong_password.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createRecoveryCodes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Make new recovery codes; those before are void */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listMembers: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the tenant's members, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "user_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "email": "ada@acme.test",
                     *           "role": "viewer",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Member"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getMember: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The user's id. */
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Member"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteMember: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The user's id. */
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["last_owner"];
            412: components["responses"]["precondition_failed"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateMember: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The user's id. */
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MemberPatch"];
                "application/merge-patch+json": components["schemas"]["MemberPatch"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Member"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["last_owner"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteMemberFactors: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The user's id. */
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["member_elsewhere"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorErasures: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the erasures, newest first */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "receipt": "eyJhbGciOiJFZDI1NTE5In0.eyJlcmFzZWQiOnRydWV9.c2lnbmF0dXJl",
                     *           "requested_at": "2026-11-23T09:30:00.000Z",
                     *           "finished_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Erasure"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorEvents: {
        parameters: {
            query?: {
                actor_id?: string;
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                tenant_id?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List what operators did, to whom and why, newest first */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "actor": {
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *             "name": "Acme"
                     *           },
                     *           "action": "insert",
                     *           "tenant": {
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *             "slug": "acme"
                     *           },
                     *           "reason": "The customer asked for it",
                     *           "change": {},
                     *           "request_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["OperatorEvent"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorHeavyTenants: {
        parameters: {
            query?: {
                by?: "requests" | "refused" | "units" | "errors" | "bytes_out" | "db_ms" | "rows" | "bytes_stored" | "cost";
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                period?: "hour" | "day" | "week" | "month" | "last_month";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tenants that use most, now or over a period */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "tenant": {
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *             "slug": "acme",
                     *             "name": "Acme",
                     *             "plan": "startup",
                     *             "status": "active"
                     *           },
                     *           "requests": 1204,
                     *           "refused": 3,
                     *           "units": 1310,
                     *           "errors": 0,
                     *           "bytes_out": 1048576,
                     *           "db_ms": 4810,
                     *           "rows": 4210,
                     *           "bytes_stored": 20971520,
                     *           "cost": "0.42"
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["HeavyTenant"][];
                    };
                };
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    changeOperatorPassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OperatorPasswordChange"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["wrong_password.insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorMoves: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                tenant_id?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the moves and restores of tenants, newest first */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "tenant": {
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *             "slug": "acme"
                     *           },
                     *           "kind": "move",
                     *           "source": "shared",
                     *           "target": "eu-dedicated",
                     *           "outcome": "done",
                     *           "progress": {
                     *             "phase": "copying",
                     *             "rows": 4210,
                     *             "bytes": 524288,
                     *             "total": 8420
                     *           },
                     *           "started_at": "2026-11-23T09:30:00.000Z",
                     *           "worked_at": "2026-11-23T09:30:00.000Z",
                     *           "finished_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Move"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getOperatorOpenapiJson: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The OpenAPI document of the operators' routes */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /** @example {} */
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperators: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the operators, those who are removed too, newest first */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "email": "ada@acme.test",
                     *           "role": "viewer",
                     *           "signed_in_at": "2026-11-23T09:30:00.000Z",
                     *           "disabled_at": "2026-11-23T09:30:00.000Z",
                     *           "created_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["ListedOperator"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createOperatorSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OperatorSignIn"];
            };
        };
        responses: {
            /** @description Sign in as an operator: always with a code of the second factor */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatorSession"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated.second_factor_required"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteOperatorSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorTenants: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                placement?: "shared" | "schema" | "dedicated";
                plan?: "solo" | "startup" | "enterprise";
                search?: string;
                /** @description The order: by this, or in reverse with `-` before it. Newest first by default. */
                sort?: components["parameters"]["sort"];
                status?: "active" | "read_only" | "suspended" | "closing" | "erasing";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the tenants */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "slug": "acme",
                     *           "name": "Acme",
                     *           "plan": "solo",
                     *           "status": "active",
                     *           "placement": {
                     *             "kind": "shared",
                     *             "region": "eu-central-1"
                     *           },
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "closes_at": "2026-11-23T09:30:00.000Z",
                     *           "requests": 1204,
                     *           "refused": 3,
                     *           "rows": 4210,
                     *           "bytes_stored": 20971520,
                     *           "cost": "0.42"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["ListedTenant"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createOperatorTenant: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewOperatedTenant"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location: components["headers"]["Location"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatedTenant"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["slug_taken"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["mail_not_sent.mail_not_set_up.unavailable"];
        };
    };
    getOperatorTenant: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatedTenant"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteOperatorTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WithReason"];
            };
        };
        responses: {
            /** @description Start closing a tenant: it is erased after a grace period */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatedTenant"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["tenant_state"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateOperatorTenant: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TenantChange"];
                "application/merge-patch+json": components["schemas"]["TenantChange"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatedTenant"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["tenant_state"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getOperatorTenantCost: {
        parameters: {
            query?: {
                from?: string;
                to?: string;
            };
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What a tenant costs by published prices, part by part; of this month unless days are named */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Cost"];
                };
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    eraseOperatorTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WithReason"];
            };
        };
        responses: {
            /** @description Erase a tenant at once, for good */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Erasing"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorTenantExports: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List a tenant's exports, newest first, those whose archives are gone too */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "status": "queued",
                     *           "rows": 4210,
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "finished_at": "2026-11-23T09:30:00.000Z",
                     *           "expires_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["ArchiveJob"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createOperatorExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WithReason"];
            };
        };
        responses: {
            /** @description Begin an export of a tenant, which its own people see and download */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Begun"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["tenant_state.job_under_way"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listOperatorTenantImports: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List a tenant's imports, newest first */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "status": "queued",
                     *           "rows": 4210,
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "finished_at": "2026-11-23T09:30:00.000Z",
                     *           "expires_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["ArchiveJob"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getOperatorTenantLimits: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What is left of each of a tenant's limits now; asking uses none of it */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Limits"];
                };
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    restoreOperatorTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WithReason"];
            };
        };
        responses: {
            /** @description Keep a tenant after all: end its closing */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatedTenant"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["tenant_state"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteOperatorTenantSessions: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WithReason"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createSupportSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewSupportSession"];
            };
        };
        responses: {
            /** @description Ask for access to a tenant: 201 with a token where it lets operators in, 202 where an owner is asked */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportGrant"];
                };
            };
            /** @description Ask for access to a tenant: 201 with a token where it lets operators in, 202 where an owner is asked */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportSession"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.support_access_off"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["tenant_state"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getSupportSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
                /** @description The id of the session of support. */
                session_id: components["parameters"]["session_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Whether a session of support is asked, active or ended */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportSession"];
                };
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    endSupportSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
                /** @description The id of the session of support. */
                session_id: components["parameters"]["session_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createSupportToken: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
                /** @description The id of the session of support. */
                session_id: components["parameters"]["session_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The next token of your own session of support, for ten minutes at most */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportGrant"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            409: components["responses"]["support_session_asked.support_session_over"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getOperatorTenantUsage: {
        parameters: {
            query?: {
                from?: string;
                granularity?: "day" | "hour";
                to?: string;
            };
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What a tenant used in each day or hour (UTC), as the tenant sees it */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageReport"];
                };
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getOperatorUsage: {
        parameters: {
            query?: {
                from?: string;
                granularity?: "day" | "hour";
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What all tenants used together in each day or hour (UTC) */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "start": "2026-11-23T00:00:00.000Z",
                     *           "tenants": 42,
                     *           "active": 12,
                     *           "requests": 1204,
                     *           "refused": 3,
                     *           "units": 1310,
                     *           "errors": 0,
                     *           "bytes_out": 1048576,
                     *           "rows": 4210,
                     *           "bytes_stored": 20971520
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["UsageTotal"][];
                    };
                };
            };
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createPasskeyChallenge: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Ask for a challenge that a passkey signs, to sign in with it alone or to prove again who calls */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyChallenge"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordReset"];
            };
        };
        responses: {
            /** @description Mail a link that sets a new password; the answer is the same without an account */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["mail_not_set_up.unavailable"];
        };
    };
    confirmPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordResetConfirmation"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            408: components["responses"]["body_timeout"];
            410: components["responses"]["link_gone"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listProjects: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                /** @description Finds the rows that hold this text, in upper or lower case. */
                q?: components["parameters"]["q"];
                /** @description The order: by this, or in reverse with `-` before it. Newest first by default. */
                sort?: "name" | "-name";
                status?: "active" | "archived";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List projects, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "name": "Acme",
                     *           "description": "What is left to do before spring",
                     *           "status": "active",
                     *           "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Project"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createProject: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes it safe to repeat the request: within 24 hours it gets its first answer again. */
                "Idempotency-Key"?: components["parameters"]["Idempotency-Key"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewProject"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Idempotency-Replayed": components["headers"]["Idempotency-Replayed"];
                    Location: components["headers"]["Location"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Project"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["idempotency_key_in_use"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input.idempotency_key_reused"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getProject: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Project"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteProject: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["row_in_use"];
            412: components["responses"]["precondition_failed"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateProject: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ProjectPatch"];
                "application/merge-patch+json": components["schemas"]["ProjectPatch"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Project"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listProjectTasks: {
        parameters: {
            query?: {
                assignee_id?: string;
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                due_before?: string;
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                /** @description The order: by this, or in reverse with `-` before it. Newest first by default. */
                sort?: "due_on" | "-due_on";
                status?: "todo" | "doing" | "done";
            };
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List a project's tasks, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "project_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "title": "Order the tiles",
                     *           "notes": "The grey ones, as in the kitchen",
                     *           "status": "todo",
                     *           "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "due_on": "2026-12-24",
                     *           "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Task"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createProjectTask: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes it safe to repeat the request: within 24 hours it gets its first answer again. */
                "Idempotency-Key"?: components["parameters"]["Idempotency-Key"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewTask"];
            };
        };
        responses: {
            /** @description The new row */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Idempotency-Replayed": components["headers"]["Idempotency-Replayed"];
                    Location: components["headers"]["Location"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["idempotency_key_in_use"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input.idempotency_key_reused"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createProjectTasks: {
        parameters: {
            query: {
                /** @description How many rows the body has: the request costs as many units. */
                rows: string;
            };
            header?: {
                /** @description Makes it safe to repeat the request: within 24 hours it gets its first answer again. */
                "Idempotency-Key"?: components["parameters"]["Idempotency-Key"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "tasks": [
                 *         {
                 *           "title": "Order the tiles",
                 *           "notes": "The grey ones, as in the kitchen",
                 *           "status": "todo",
                 *           "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                 *           "due_on": "2026-12-24"
                 *         }
                 *       ]
                 *     }
                 */
                "application/json": {
                    tasks: components["schemas"]["NewTask"][];
                };
            };
        };
        responses: {
            /** @description Add many tasks to a project: all or none */
            201: {
                headers: {
                    "Idempotency-Replayed": components["headers"]["Idempotency-Replayed"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "project_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "title": "Order the tiles",
                     *           "notes": "The grey ones, as in the kitchen",
                     *           "status": "todo",
                     *           "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "due_on": "2026-12-24",
                     *           "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Task"][];
                    };
                };
            };
            400: components["responses"]["invalid_json.invalid_header.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["idempotency_key_in_use"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input.idempotency_key_reused"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listSessions: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List your sessions in this tenant, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "current": true,
                     *           "device": "Firefox on Linux",
                     *           "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
                     *           "country": "DE",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "last_used_at": "2026-11-23T09:30:00.000Z",
                     *           "expires_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["ListedSession"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignIn"];
            };
        };
        responses: {
            /** @description Sign in */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated.second_factor_required.second_factor_enrolment_required"];
            403: components["responses"]["no_tenant.insufficient_scope.wrong_host.tenant_suspended.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteSessions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: string | "current";
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    stepUpSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["StepUp"];
            };
        };
        responses: {
            /** @description Prove again who you are: for ten minutes you may do what a stolen token may not */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["wrong_password.wrong_factor.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createFactorSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FactorProof"];
            };
        };
        responses: {
            /** @description Sign in with the second factor that a challenge asks for */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FactorSession"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated.second_factor_required.second_factor_enrolment_required"];
            403: components["responses"]["no_tenant.insufficient_scope.wrong_host.tenant_suspended.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createFactorEnrolment: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Enrolment"];
            };
        };
        responses: {
            /** @description Begin to add the second factor that a tenant requires, by a challenge that asks for it */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FactorSetup"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createPasskeySession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasskeySignIn"];
            };
        };
        responses: {
            /** @description Sign in with a passkey alone */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated.second_factor_required.second_factor_enrolment_required"];
            403: components["responses"]["no_tenant.insufficient_scope.wrong_host.tenant_suspended.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    refreshSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["Refresh"];
            };
        };
        responses: {
            /** @description Exchange a refresh token for a new access token and refresh token */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    switchSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Switch"];
            };
        };
        responses: {
            /** @description Start a session in another of your tenants */
            201: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated.second_factor_required.second_factor_enrolment_required"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createSignup: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignUp"];
            };
        };
        responses: {
            /** @description Make a tenant and its owner; 202 where the address is confirmed first, by the link in a mail */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            /** @description Make a tenant and its owner; 202 where the address is confirmed first, by the link in a mail */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_json.idempotency_key_unsupported"];
            401: components["responses"]["unauthenticated.second_factor_required"];
            403: components["responses"]["insufficient_scope"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["slug_taken"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["mail_not_set_up.unavailable"];
        };
    };
    listTasks: {
        parameters: {
            query?: {
                assignee_id?: string;
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                due_before?: string;
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
                project_id?: string;
                /** @description The order: by this, or in reverse with `-` before it. Newest first by default. */
                sort?: "due_on" | "-due_on";
                status?: "todo" | "doing" | "done";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the tasks of all projects, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "project_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "title": "Order the tiles",
                     *           "notes": "The grey ones, as in the kitchen",
                     *           "status": "todo",
                     *           "assignee_id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "due_on": "2026-12-24",
                     *           "created_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "updated_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Task"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getTask: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteTask: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["row_in_use"];
            412: components["responses"]["precondition_failed"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateTask: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TaskPatch"];
                "application/merge-patch+json": components["schemas"]["TaskPatch"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getTenant: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteTenant: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Start closing the tenant: it is erased after a grace period */
            202: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateTenant: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TenantPatch"];
                "application/merge-patch+json": components["schemas"]["TenantPatch"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            409: components["responses"]["slug_taken"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listExports: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List the exports, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "status": "queued",
                     *           "rows": 4210,
                     *           "bytes": 524288,
                     *           "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "expires_at": "2026-11-23T09:30:00.000Z"
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["Export"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createExport: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Export all that the tenant has, as of now */
            202: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Export"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["tenant_state.job_under_way"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How far an export is */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Export"];
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["job_under_way"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getExportArchive: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Download an export: a ZIP of NDJSON files and manifest.json */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": string;
                };
            };
            /** @description Download an export: a ZIP of NDJSON files and manifest.json */
            206: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": string;
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createImport: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Import an archive into the empty tenant: all or nothing */
            202: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Import"];
                };
            };
            400: components["responses"]["invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["tenant_state.job_under_way"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getImport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How far an import is */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Import"];
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getTenantLimits: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What is left of each limit */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Limits"];
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    restoreTenant: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Keep the tenant after all: end its closing */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getSupportAccess: {
        parameters: {
            query?: never;
            header?: {
                /** @description Answers 304, without a body, while this is the ETag. */
                "If-None-Match"?: components["parameters"]["If-None-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportAccess"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    updateSupportAccess: {
        parameters: {
            query?: never;
            header?: {
                /** @description Only if the row still has this ETag, or one of these; `*` is any. */
                "If-Match"?: components["parameters"]["If-Match"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SupportAccessPatch"];
                "application/merge-patch+json": components["schemas"]["SupportAccessPatch"];
            };
        };
        responses: {
            /** @description The row */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportAccess"];
                };
            };
            400: components["responses"]["invalid_json.invalid_header.idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            408: components["responses"]["body_timeout"];
            412: components["responses"]["precondition_failed"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    listSupportSessions: {
        parameters: {
            query?: {
                /** @description The `next_cursor` of the page before. */
                cursor?: components["parameters"]["cursor"];
                /** @description How many to answer at most. */
                limit?: components["parameters"]["limit"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description List which operators asked to look in, are in, and were in, newest first */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "data": [
                     *         {
                     *           "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "status": "asked",
                     *           "operator": {
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *             "name": "Acme"
                     *           },
                     *           "reason": "The customer asked for it",
                     *           "minutes": 30,
                     *           "write": true,
                     *           "created_at": "2026-11-23T09:30:00.000Z",
                     *           "approved_by": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47",
                     *           "started_at": "2026-11-23T09:30:00.000Z",
                     *           "expires_at": "2026-11-23T09:30:00.000Z",
                     *           "ended_at": "2026-11-23T09:30:00.000Z",
                     *           "end_reason": "ended",
                     *           "ended_by": {
                     *             "type": "user",
                     *             "id": "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"
                     *           }
                     *         }
                     *       ],
                     *       "next_cursor": "b3BhcXVlIGFuZCBzaWduZWQ"
                     *     }
                     */
                    "application/json": {
                        data: components["schemas"]["SupportSession"][];
                        next_cursor: string | null;
                    };
                };
            };
            400: components["responses"]["invalid_cursor.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    deleteSupportSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    approveSupportSession: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The row's id. */
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Let the operator in who asked, for the minutes that were asked, from now on */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SupportSession"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported.cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["step_up_required.insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            409: components["responses"]["support_session_over"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    getTenantUsage: {
        parameters: {
            query?: {
                api_key_id?: string;
                from?: string;
                granularity?: "day" | "hour";
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What was used in each day or hour (UTC), periods without any use included */
            200: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageReport"];
                };
            };
            400: components["responses"]["cost_above_limit"];
            401: components["responses"]["unauthenticated"];
            403: components["responses"]["insufficient_scope.wrong_host.tenant_suspended.tenant_read_only.tenant_closing.tenant_erasing"];
            404: components["responses"]["not_found"];
            422: components["responses"]["invalid_input"];
            429: components["responses"]["quota_exceeded.too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
    createToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-www-form-urlencoded": components["schemas"]["TokenRequest"];
            };
        };
        responses: {
            /** @description Exchange a token of an issuer that the tenant trusts for an access token */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExchangedToken"];
                };
            };
            400: components["responses"]["idempotency_key_unsupported.invalid_token_request.unsupported_grant_type.subject_token_refused"];
            403: components["responses"]["wrong_host.tenant_suspended.tenant_closing.tenant_erasing"];
            408: components["responses"]["body_timeout"];
            413: components["responses"]["body_too_large"];
            415: components["responses"]["unsupported_media_type"];
            429: components["responses"]["too_many_attempts"];
            500: components["responses"]["internal"];
            503: components["responses"]["unavailable"];
        };
    };
}
