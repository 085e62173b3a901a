CREATE TABLE "control"."api_keys" (
	"id" uuid NOT NULL,
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"name" text NOT NULL,
	"scopes" text[] NOT NULL,
	"hash" "bytea" NOT NULL,
	"hint" text NOT NULL,
	"created_by" uuid NOT NULL,
	"vouched_by" uuid,
	"expires_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "api_keys_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
ALTER TABLE "control"."api_keys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."invitations" (
	"id" uuid NOT NULL,
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"email" text NOT NULL,
	"role" text NOT NULL,
	"token_hash" "bytea" NOT NULL,
	"invited_by" uuid NOT NULL,
	"vouched_by" uuid,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "invitations_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "email_is_lower_case" CHECK (email = lower(email)),
	CONSTRAINT "role_known" CHECK (role in ('viewer', 'member', 'admin', 'owner'))
);
--> statement-breakpoint
ALTER TABLE "control"."invitations" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."issuers" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"issuer" text NOT NULL,
	"audience" text NOT NULL,
	"role_claim" text,
	"role_map" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"default_role" text,
	"email_domains" text[] NOT NULL,
	"just_in_time" boolean DEFAULT false NOT NULL,
	"domains_since" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"registered_by" uuid NOT NULL,
	"vouched_by" uuid,
	"suspended_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "default_role_known" CHECK (default_role in ('viewer', 'member', 'admin')),
	CONSTRAINT "role_map_size" CHECK (jsonb_array_length(jsonb_path_query_array(role_map, '$.keyvalue()')) <= 100
        and octet_length(role_map::text) <= 16384)
);
--> statement-breakpoint
ALTER TABLE "control"."issuers" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."memberships" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "memberships_tenant_id_user_id_pk" PRIMARY KEY("tenant_id","user_id"),
	CONSTRAINT "role_known" CHECK (role in ('viewer', 'member', 'admin', 'owner'))
);
--> statement-breakpoint
ALTER TABLE "control"."memberships" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."outbox" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"seq" bigint NOT NULL,
	"kind" text NOT NULL,
	"subject" uuid NOT NULL,
	"version" bigint,
	"event" jsonb,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "outbox_tenant_id_seq_pk" PRIMARY KEY("tenant_id","seq"),
	CONSTRAINT "kind_known" CHECK (kind in ('tenant', 'api_key', 'floor', 'member', 'audit'))
);
--> statement-breakpoint
ALTER TABLE "control"."outbox" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."outbox_heads" (
	"tenant_id" uuid PRIMARY KEY DEFAULT control.claimed_tenant_id() NOT NULL,
	"head" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
ALTER TABLE "control"."outbox_heads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."sessions" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"user_id" uuid NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"refresh_hash" "bytea",
	"issuer_id" uuid,
	"user_agent" text DEFAULT '' NOT NULL,
	"rotated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"revoked_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "refreshed_or_vouched" CHECK ((issuer_id is null) = (refresh_hash is not null))
);
--> statement-breakpoint
ALTER TABLE "control"."sessions" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."tenants" (
	"id" uuid PRIMARY KEY NOT NULL,
	"slug" text NOT NULL,
	"name" text NOT NULL,
	"plan" text NOT NULL,
	"status" text DEFAULT 'active' NOT NULL,
	"limits" jsonb,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "slug_is_a_host_label" CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	CONSTRAINT "status_known" CHECK (status in ('active', 'suspended', 'closing'))
);
--> statement-breakpoint
ALTER TABLE "control"."tenants" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."users" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"email" text NOT NULL,
	"password_hash" text,
	"issuer_id" uuid,
	"subject" text,
	"email_verified_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "email_is_lower_case" CHECK (email = lower(email)),
	CONSTRAINT "subject_of_issuer" CHECK ((issuer_id is null) = (subject is null))
);
--> statement-breakpoint
ALTER TABLE "control"."users" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."api_keys" ADD CONSTRAINT "api_keys_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."api_keys" ADD CONSTRAINT "api_keys_maker" FOREIGN KEY ("tenant_id","created_by") REFERENCES "control"."memberships"("tenant_id","user_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."invitations" ADD CONSTRAINT "invitations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."issuers" ADD CONSTRAINT "issuers_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."memberships" ADD CONSTRAINT "memberships_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."memberships" ADD CONSTRAINT "memberships_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "control"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."outbox" ADD CONSTRAINT "outbox_tenant_id_outbox_heads_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."outbox_heads"("tenant_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."outbox_heads" ADD CONSTRAINT "outbox_heads_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."sessions" ADD CONSTRAINT "sessions_membership" FOREIGN KEY ("tenant_id","user_id") REFERENCES "control"."memberships"("tenant_id","user_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."users" ADD CONSTRAINT "users_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "control"."issuers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_hash" ON "control"."api_keys" USING btree ("tenant_id","hash");--> statement-breakpoint
CREATE INDEX "api_keys_newest" ON "control"."api_keys" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "api_keys_of_maker" ON "control"."api_keys" USING btree ("tenant_id","created_by");--> statement-breakpoint
CREATE UNIQUE INDEX "invitations_email" ON "control"."invitations" USING btree ("tenant_id","email");--> statement-breakpoint
CREATE INDEX "invitations_newest" ON "control"."invitations" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "issuers_issuer" ON "control"."issuers" USING btree ("tenant_id","issuer","audience");--> statement-breakpoint
CREATE INDEX "issuers_newest" ON "control"."issuers" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "issuers_of_token" ON "control"."issuers" USING btree ("issuer","audience");--> statement-breakpoint
CREATE INDEX "memberships_user" ON "control"."memberships" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "memberships_newest" ON "control"."memberships" USING btree ("tenant_id","created_at","user_id");--> statement-breakpoint
CREATE INDEX "sessions_user" ON "control"."sessions" USING btree ("tenant_id","user_id","created_at");--> statement-breakpoint
CREATE INDEX "sessions_issuer" ON "control"."sessions" USING btree ("issuer_id");--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_slug" ON "control"."tenants" USING btree ("slug");--> statement-breakpoint
CREATE UNIQUE INDEX "users_email" ON "control"."users" USING btree ("email") WHERE issuer_id is null;--> statement-breakpoint
CREATE UNIQUE INDEX "users_subject" ON "control"."users" USING btree ("issuer_id","subject");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."api_keys" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."api_keys" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."invitations" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."invitations" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."issuers" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."issuers" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."memberships" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."memberships" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."outbox" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."outbox" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."outbox_heads" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."outbox_heads" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."sessions" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."sessions" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."tenants" AS PERMISSIVE FOR ALL TO public USING (id = (select control.current_tenant_id())) WITH CHECK (id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."tenants" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."users" AS PERMISSIVE FOR ALL TO public USING (exists (select from control.memberships m where m.user_id = users.id) or issuer_id in (select i.id from control.issuers i)) WITH CHECK ((issuer_id is null and exists (select from control.memberships m where m.user_id = users.id)) or issuer_id in (select i.id from control.issuers i));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."users" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);