//! What each path does with each method: its parameters, its body, and every
//! status that it answers with.

use utoipa::openapi::{
    ArrayBuilder, Content, Header, HttpMethod, Object, ObjectBuilder, OneOfBuilder, Ref, RefOr,
    Required, Response, ResponseBuilder, Responses, Schema,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    schema::{AdditionalProperties, Type},
};

use super::{
    bodies,
    patterns::{self, whole},
    values::{self, flag, number, text},
};
use crate::api::{MAX_CONFIRM_WITHIN_S, MAX_LIMIT};

const JSON: &str = "application/json";

/// Statuses of problem documents, with what is said about them.
const PROBLEMS: [(u16, &str); 11] = [
    (400, "The body is not JSON, or If-Match no entity tag"),
    (403, "Only root may have lbd run commands"),
    (404, "No such object"),
    (405, "The path does not know this method"),
    (408, "The body came too slowly"),
    (
        409,
        "The object exists, or its name is taken; or an applied configuration waits to be confirmed",
    ),
    (412, "The object's version is another than If-Match says"),
    (413, "The body is too long"),
    (422, "Understood, and cannot be"),
    (500, "Right, and could not be done"),
    (503, "As many listen as may"),
];

/// What can go wrong with what nobody names.
const ANY: &[u16] = &[400, 500];
/// Where the path or the query names objects.
const NAMED: &[u16] = &[400, 404, 422, 500];
/// Where such an object goes.
const NAMED_CHANGED: &[u16] = &[400, 404, 409, 422, 500];
/// Where it has a version as well.
const VERSIONED: &[u16] = &[400, 404, 409, 412, 422, 500];
const BODY: &[u16] = &[400, 404, 408, 413, 422, 500];
const REPLACES: &[u16] = &[400, 403, 408, 409, 413, 422, 500];
const EDITS: &[u16] = &[400, 403, 404, 408, 409, 412, 413, 422, 500];
const CREATES: &[u16] = &[400, 403, 404, 408, 409, 413, 422, 500];
const CREATES_MARK: &[u16] = &[400, 404, 408, 409, 413, 422, 500];

use HttpMethod::{Delete, Get, Patch, Post, Put};

type Of = (HttpMethod, Operation);

/// Every path with its operations.
pub(super) fn all() -> Vec<(&'static str, Vec<Of>)> {
    vec![
        ("/v1/services", services()),
        ("/v1/services/{service}", service()),
        ("/v1/services/{service}/reals", reals()),
        ("/v1/services/{service}/reals/{real}", real()),
        ("/v1/marks", marks()),
        ("/v1/connections", connections()),
        (
            "/v1/health",
            vec![scoped("What every check thinks of its real", list("Check"))],
        ),
        (
            "/v1/health/history",
            vec![scoped(
                "The last changes of reals' health, the oldest of each first",
                list("Transition"),
            )],
        ),
        (
            "/v1/status",
            vec![get("What runs, and how", named("Status"), ANY)],
        ),
        (
            "/v1/stats",
            vec![get("The counters alone", list("ServiceStats"), ANY)],
        ),
        ("/v1/timeouts", timeouts()),
        ("/v1/config", config()),
        ("/v1/config/check", vec![check()]),
        (
            "/v1/config/confirm",
            vec![post(
                "Keep what waits to be confirmed",
                empty(),
                &[400, 422, 500],
            )],
        ),
        (
            "/v1/config/diff",
            vec![get(
                "What a reload would change",
                named("Diff"),
                &[400, 422, 500],
            )],
        ),
        (
            "/v1/config/undo",
            vec![post(
                "Go back from what waits to be confirmed",
                named("Diff"),
                &[400, 422, 500],
            )],
        ),
        ("/v1/events", vec![events()]),
        ("/v1/openapi.json", vec![document()]),
        ("/v1/zero", vec![zero()]),
        (
            "/v1/reload",
            vec![post(
                "Read the configuration file again",
                named("ReloadReport"),
                &[400, 409, 422, 500],
            )],
        ),
    ]
}

fn services() -> Vec<Of> {
    let add = start("Add a service, with the reals listed in it", CREATES)
        .request_body(Some(json_body("NewService")))
        .response("201", with_etag(json("The service", named("Service"))));
    let delete = start("Delete all services", &[400, 409, 422, 500])
        .parameter(now())
        .response("204", Response::new("There are none"));
    vec![
        get("All services with their reals", list("Service"), ANY),
        (Post, add.build()),
        (Delete, delete.build()),
    ]
}

fn service() -> Vec<Of> {
    let at = |summary, problems| start(summary, problems).parameter(service_name());
    let one_or_all = || {
        let meant = OneOfBuilder::new()
            .item(named("Service"))
            .item(list("Service"));
        with_etag(json(
            "The service; an array where several have the name",
            meant,
        ))
    };
    let edit = |summary| {
        at(summary, EDITS)
            .parameter(if_match())
            .request_body(Some(json_body("ServiceEdit")))
            .response("200", one_or_all())
            .build()
    };
    let delete = at("Delete a service and its reals", VERSIONED)
        .parameter(if_match())
        .parameter(now())
        .response("204", Response::new("It is deleted"));
    vec![
        (
            Get,
            at("A service", NAMED).response("200", one_or_all()).build(),
        ),
        (Patch, edit("Change what is named")),
        (Put, edit("Change what is named; the rest gets its default")),
        (Delete, delete.build()),
    ]
}

fn reals() -> Vec<Of> {
    let at = |summary, problems| start(summary, problems).parameter(service_name());
    let add = at("Add a real", CREATES)
        .request_body(Some(json_body("NewReal")))
        .response("201", with_etag(json("The real", named("Real"))));
    let reals = json("The reals", list("Real"));
    vec![
        (
            Get,
            at("A service's reals", NAMED)
                .response("200", reals)
                .build(),
        ),
        (Post, add.build()),
    ]
}

fn real() -> Vec<Of> {
    let at = |summary, problems| {
        start(summary, problems)
            .parameter(service_name())
            .parameter(path("real", values::real_ref()))
    };
    let one = || with_etag(json("The real", named("Real")));
    let edit = |summary| {
        at(summary, EDITS)
            .parameter(if_match())
            .request_body(Some(json_body("RealEdit")))
            .response("200", one())
            .build()
    };
    let delete = at("Delete a real", VERSIONED)
        .parameter(if_match())
        .parameter(now())
        .response("204", Response::new("It is deleted"));
    vec![
        (Get, at("A real", NAMED).response("200", one()).build()),
        (Patch, edit("Change what is named")),
        (Put, edit("Change what is named; the rest gets its default")),
        (Delete, delete.build()),
    ]
}

fn marks() -> Vec<Of> {
    let add = start("Add a rule", CREATES_MARK)
        .request_body(Some(json_body("NewMark")))
        .response("201", json("The rule", named("Mark")));
    let ports = text(&patterns::ports(), "80,443");
    let delete = start("Delete the rule that the query names", NAMED_CHANGED)
        .parameter(required(query("mark", number(1, u32::MAX))))
        .parameter(required(query("protocol", values::protocol())))
        .parameter(required(query("destination", values::destination())))
        .parameter(query("ports", ports))
        .response("204", Response::new("It is deleted"));
    vec![
        get("Which packets are marked", list("Mark"), ANY),
        (Post, add.build()),
        (Delete, delete.build()),
    ]
}

fn connections() -> Vec<Of> {
    let most = u32::try_from(MAX_LIMIT).unwrap_or(u32::MAX);
    let cursor = text(r"(v4|v6|t)\.[0-9]{1,9}(\.[0-9a-f]{1,16})?", "v4.2047");
    let link = Header::new(Object::with_type(Type::String));
    let page = ResponseBuilder::from(json("A page of them", list("Connection")))
        .header("Link", link)
        .build();
    let list = start(
        "Connections and persistent clients, a page at a time",
        NAMED,
    )
    .parameter(query("service", values::service_ref()))
    .parameter(query("real", values::real_ref()))
    .parameter(query("client", values::destination()))
    .parameter(query("state", values::connection_state()))
    .parameter(query("limit", number(1, most)))
    .parameter(query("cursor", cursor))
    .response("200", page);
    let flush = start("Cut all connections, or a service's, or a real's", NAMED)
        .parameter(query("service", values::service_ref()))
        .parameter(query("real", values::real_ref()))
        .response("204", Response::new("None is left"));
    vec![(Get, list.build()), (Delete, flush.build())]
}

/// A question about everything, or about a service or a real.
fn scoped(summary: &str, shown: impl Into<RefOr<Schema>>) -> Of {
    let operation = start(summary, NAMED)
        .parameter(query("service", values::service_ref()))
        .parameter(query("real", values::real_ref()))
        .response("200", json(summary, shown));
    (Get, operation.build())
}

fn timeouts() -> Vec<Of> {
    let edit = |summary| {
        start(summary, &[400, 408, 409, 413, 422, 500])
            .request_body(Some(json_body("TimeoutsEdit")))
            .response("200", json("All of them", named("Timeouts")))
            .build()
    };
    vec![
        get("The timeouts that run", named("Timeouts"), ANY),
        (Patch, edit("Change what is named; 0 leaves what is")),
        (
            Put,
            edit("Change what is named; the rest gets IPVS's defaults"),
        ),
    ]
}

fn config() -> Vec<Of> {
    let toml = Response::builder()
        .description("What runs")
        .content(
            "application/toml",
            Content::new(Some(bodies::configuration())),
        )
        .build();
    let most = u32::try_from(MAX_CONFIRM_WITHIN_S).unwrap_or(u32::MAX);
    let replace = start(
        "Put services, marks and timeouts in the place of those that run",
        REPLACES,
    )
    .parameter(query("confirm_within_s", number(1, most)))
    .request_body(Some(toml_body()))
    .response("200", json("What changed", named("ReloadReport")));
    vec![
        (
            Get,
            start("What runs, as a configuration file", ANY)
                .response("200", toml)
                .build(),
        ),
        (Put, replace.build()),
    ]
}

fn check() -> Of {
    let check = start("Whether the body is a configuration", &[408, 413, 422])
        .request_body(Some(toml_body()))
        .response("200", json("It is", named("Checked")));
    (Post, check.build())
}

fn events() -> Of {
    let stream = Response::builder()
        .description(
            "Server-sent events, each named for its kind and with an Event as data; \
             or `missed`, with how many a slow listener has missed",
        )
        .content(
            "text/event-stream",
            Content::new(Some(Object::with_type(Type::String))),
        )
        .build();
    (
        Get,
        start("What happens, as it happens", &[400, 500, 503])
            .response("200", stream)
            .build(),
    )
}

fn document() -> Of {
    let response = json("An OpenAPI document", Object::with_type(Type::Object));
    (
        Get,
        start("This document", &[])
            .response("200", response)
            .build(),
    )
}

fn zero() -> Of {
    let zero = start("Set counters to 0: all, or a service's", BODY)
        .request_body(Some(json_body("Zero")))
        .response("200", json("They are", empty()));
    (Post, zero.build())
}

/// An operation with the problems that it answers with.
fn start(summary: &str, problems: &[u16]) -> OperationBuilder {
    let described = PROBLEMS
        .iter()
        .filter(|(status, _)| problems.contains(status));
    let problem = |description: &str| {
        Response::builder()
            .description(description)
            .content(
                "application/problem+json",
                Content::new(Some(named("Problem"))),
            )
            .build()
    };
    let responses = described.fold(Responses::builder(), |responses, (status, text)| {
        responses.response(status.to_string(), problem(text))
    });
    OperationBuilder::new()
        .summary(Some(summary))
        .responses(responses.build())
}

/// A question that takes nothing.
fn get(summary: &str, shown: impl Into<RefOr<Schema>>, problems: &[u16]) -> Of {
    let response = json(summary, shown);
    (
        Get,
        start(summary, problems).response("200", response).build(),
    )
}

/// An order that takes nothing.
fn post(summary: &str, shown: impl Into<RefOr<Schema>>, problems: &[u16]) -> Of {
    let response = json("Done", shown);
    (
        Post,
        start(summary, problems).response("200", response).build(),
    )
}

fn named(schema: &str) -> Ref {
    Ref::from_schema_name(schema)
}

fn list(of: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(named(of))
}

/// `{}`.
fn empty() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn json(description: &str, schema: impl Into<RefOr<Schema>>) -> Response {
    Response::builder()
        .description(description)
        .content(JSON, Content::new(Some(schema)))
        .build()
}

fn with_etag(response: Response) -> Response {
    let tag = text("\"[^\"]+\"", "\"0123456789abcdef\"");
    ResponseBuilder::from(response)
        .header("ETag", Header::new(tag))
        .build()
}

fn json_body(schema: &str) -> utoipa::openapi::request_body::RequestBody {
    RequestBodyBuilder::new()
        .content(JSON, Content::new(Some(named(schema))))
        .required(Some(Required::True))
        .build()
}

fn toml_body() -> utoipa::openapi::request_body::RequestBody {
    RequestBodyBuilder::new()
        .content(
            "application/toml",
            Content::new(Some(bodies::configuration())),
        )
        .required(Some(Required::True))
        .build()
}

fn service_name() -> Parameter {
    path("service", values::service_ref())
}

fn path(name: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn query(name: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .schema(Some(schema))
        .build()
}

fn required(mut parameter: Parameter) -> Parameter {
    parameter.required = Required::True;
    parameter
}

/// `?now=true`.
fn now() -> Parameter {
    query("now", flag())
}

fn if_match() -> Parameter {
    let tags = r#"\*|"[^",]*"(, ?"[^",]*")*"#;
    ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some(whole(tags))),
        ))
        .build()
}
