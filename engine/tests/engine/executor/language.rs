//! The operations of `@openfn/language-common`, as they are documented.

use keyway_storage::event::RunState;
use serde_json::{Value, json};

use super::rehearsal::run;

fn state() -> Value {
    json!({
        "data": {
            "a": {"b": 1, "dotted.key": 2},
            "list": [{"x": 5, "tag": "odd"}, {"x": 6, "tag": "even"}, {"x": 7, "tag": "odd"}],
            "csv": "id,name\n1,Amina\n2,\"Smith, John\"\n\n3, Zoë ",
        },
        "references": [{"id": "r0"}],
    })
}

/// Each body leaves what it found in `r`.
pub fn check(table: &[(&str, Value)]) {
    for (body, expected) in table {
        let run = run(body, state());
        assert_eq!(run.end().state, RunState::Success, "{body}: {:?}", run.end().error);
        assert_eq!(run.state()["r"], *expected, "{body}");
    }
}

pub fn value(expression: &str, expected: Value) -> (String, Value) {
    (format!("fn(s => ({{ r: {expression} }}))"), expected)
}

pub fn check_values(table: Vec<(String, Value)>) {
    let table: Vec<(&str, Value)> =
        table.iter().map(|(body, value)| (body.as_str(), value.clone())).collect();
    check(&table);
}

#[test]
fn paths_reach_into_the_state() {
    check_values(vec![
        value("sourceValue('$.data.a.b')(s)", json!(1)),
        value("sourceValue('data.a.b')(s)", json!(1)),
        value("sourceValue('$.data.list[1].x')(s)", json!(6)),
        value("sourceValue('$.data.nothing.there')(s) ?? 'none'", json!("none")),
        value("sourceValue(\"$.data.a['dotted.key']\")(s)", json!(2)),
        value("source('$.data.list[*].x')(s)", json!([5, 6, 7])),
        value("source('$.data.list[0:2].x')(s)", json!([5, 6])),
        value("source('$.data.list[::2].x')(s)", json!([5, 7])),
        value("source('$.data.list[-1:].x')(s)", json!([7])),
        value("source('$.data.list[-1].x')(s)", json!([7])),
        value("source('$.data.list[0,2].x')(s)", json!([5, 7])),
        value("source(\"$.data.list[0]['x','tag']\")(s)", json!([5, "odd"])),
        value("source('$.data.list')(s).length", json!(1)),
        value("source('$..x')(s)", json!([5, 6, 7])),
        value("source('$..list[*].tag')(s)", json!(["odd", "even", "odd"])),
        value("source(\"$.data.list[?(@.tag == 'odd' && @.x > 5)].x\")(s)", json!([7])),
        value("source('$.data.list[?(!(@.x >= 6) || @.x === 7)].x')(s)", json!([5, 7])),
        value("source('$.data.list[?(@.missing)]')(s)", json!([])),
        value("source('$.data.list[?(@.x % 2 == 0 || @.x * 2 - 1 > 12)].x')(s)", json!([6, 7])),
        value("source('$.data.list[?(@.x / 2 == 3)].x')(s)", json!([6])),
        value("source('$.data.list[?(@.x == -5 + 10)].x')(s)", json!([5])),
        value("source('$.data.list[?(@.tag.match(/^O/i) && @.tag.length < 4)].x')(s)", json!([5, 7])),
        value("source(\"$.data.list[?(!@.tag.includes('ev', 0))].x\")(s)", json!([5, 7])),
        value("source(\"$.data[?(@property == 'a')].b\")(s)", json!([1])),
        value("source('$.data.list[(@.length - 1)].x')(s)", json!([7])),
        value("source('$.data.a.*~')(s)", json!(["b", "dotted.key"])),
        value("source('$.data.csv.length')(s)", json!([40])),
        value("source('')(s)", json!([])),
        value("dataPath('$.a')", json!("$.data.a")),
        value("dataValue('a.b')(s)", json!(1)),
        value("referencePath('[0]')", json!("$.references[0]")),
        value("lastReferenceValue('id')(s)", json!("r0")),
        value("jsonValue({ a: 1 }, 'a')", json!(1)),
        value("asData('$.data.list[*]', s).length", json!(3)),
    ]);
}

#[test]
fn values_are_made_of_others() {
    check_values(vec![
        value("fields(field('k', 'v'), field('n', 1))", json!({"k": "v", "n": 1})),
        value(
            "merge('$.data.list[0:2]', fields(field('p', dataValue('a.b'))))(s).map(i => i.p + i.x)",
            json!([6, 7]),
        ),
        value("join('$.data.list[0:1]', '$.data.a.b', 'b')(s)", json!([{"b": 1, "x": 5, "tag": "odd"}])),
        value(
            "expandReferences({ a: s => s.data.a.b, l: [dataValue('a.b')] })(s)",
            json!({"a": 1, "l": [1]}),
        ),
        value("util.expandReferences(s, x => x.data.a.b, 'as it is')", json!([1, "as it is"])),
        value("arrayToString([1, 2], '-')", json!("1-2")),
        value("[toArray(1), toArray([1])]", json!([[1], [1]])),
        value("humanProper('a_bc-DEF')", json!("A Bc Def")),
        value("humanProper(5)", json!(5)),
        value("chunk([1, 2, 3], 2)", json!([[1, 2], [3]])),
        value("splitKeys({ a: 1, b: 2 }, ['b'])", json!([{"a": 1}, {"b": 2}])),
        value("scrubEmojis('Dove\u{1f54a}\u{fe0f}\u{2b50} 29', '*').endsWith('* 29')", json!(true)),
        value("composeNextState(s, 'new').references.length", json!(2)),
        value("util.encode('Hello W\u{f6}rld')", json!("SGVsbG8gV8O2cmxk")),
        value("util.decode(util.encode('h\u{e9}llo \u{1f30d}'))", json!("h\u{e9}llo \u{1f30d}")),
        value("util.decode('w6nD/4BB')", json!("\u{e9}\u{fffd}\u{fffd}\u{fffd}A")),
        value("util.decode(util.encode({ name: 'Jane' }))", json!({"name": "Jane"})),
        value(
            "/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(util.uuid())",
            json!(true),
        ),
        value("util.uuid() === util.uuid()", json!(false)),
        value("util.parseDate('2 days ago') instanceof Date", json!(true)),
        value("[parseDate('today') instanceof Date, parseDate('some day')]", json!([true, "some day"])),
        value(
            "util.makeBasicAuthHeader('amina', 'hunter22')",
            json!({"Authorization": "Basic YW1pbmE6aHVudGVyMjI="}),
        ),
        value("util.assertRelativeUrl('/a/b') ?? 'relative'", json!("relative")),
        value(
            "(() => { try { util.assertRelativeUrl('https://x/a') } catch (e) { return [e.code, e.url] } })()",
            json!(["UNEXPECTED_ABSOLUTE_URL", "https://x/a"]),
        ),
        value(
            "util.normalizeOauthConfig({ access_token: 't', x: 1 })",
            json!({"access_token": "t", "accessToken": "t", "x": 1}),
        ),
        value("util.normalizeOauthConfig({ accessToken: 't' })", json!({"accessToken": "t"})),
        value(
            "(() => { try { util.normalizeOauthConfig({ access_token: 't', accessToken: 't' }) } catch (e) { return e.message.slice(0, 4) } })()",
            json!("Both"),
        ),
        value(
            "(() => { try { util.throwError('CODE', { description: 'd', x: 1 }) } catch (e) { return [e.message, e.code, e.x] } })()",
            json!(["CODE: d", "CODE", 1]),
        ),
    ]);
}

#[test]
fn operations_work_on_items() {
    check(&[
        (
            "each('$.data.list[*]', fn(s => ({ ...s, r: [...(s.r ?? []), s.index + s.data.x] })))",
            json!([5, 7, 9]),
        ),
        ("each($.data.list, async s => ({ ...s, r: (s.r ?? 0) + s.data.x }))", json!(18)),
        ("each($.data.list, fn(s => ({ ...s, r: s.data.x }))); fn(s => ({ r: s.data.tag }))", json!("odd")),
        ("beta.each($.data.list, fn(s => s)); fn(s => ({ r: s.data.list.length }))", json!(3)),
        (
            "map('$.data.list[*]', (item, index) => item.x + index); fn(s => ({ r: s.data }))",
            json!([5, 7, 9]),
        ),
        (
            "map($.data.list, async (item, index, state) => item.x + state.data.a.b); fn(s => ({ r: s.data }))",
            json!([6, 7, 8]),
        ),
        ("combine(fn(s => ({ a: 1 })), async s => ({ r: s.a + 1 }))", json!(2)),
        (
            "combine(fn(s => ({ a: 1 })), fn(s => ({ r: Object.keys(s) }))); fn(s => ({ r: [s.r, Object.keys(s)] }))",
            json!([["a"], ["r"]]),
        ),
        ("each('$.data.list[*]', fn(s => ({ ...s, r: [...(s.r ?? []), index()(s)] })))", json!([0, 1, 2])),
        (
            "group([{ 'a.b': 1 }, { a: { b: 2 } }], 'a.b'); fn(s => ({ r: Object.keys(s.data) }))",
            json!(["1", "2"]),
        ),
        ("execute(fn(s => ({ ...s, n: 1 })), s => ({ r: s.n + 1 }))", json!(2)),
        (
            "group($.data.list, 'tag'); fn(s => ({ r: Object.entries(s.data).map(([k, v]) => k + v.length) }))",
            json!(["odd2", "even1"]),
        ),
        (
            "group({ x: { k: 1 }, y: { k: 2 } }, 'k'); fn(s => ({ r: s.data }))",
            json!({"1": [{"k": 1}], "2": [{"k": 2}]}),
        ),
        ("group('$.data.list[*]', 'none', s => ({ ...s, r: Object.keys(s.data) }))", json!([])),
        ("fnIf($.data.a.b === 1, fn(s => ({ r: 'then' })))", json!("then")),
        ("fnIf(false, fn(s => ({}))); fn(s => ({ r: s.data.a.b }))", json!(1)),
        (
            "as('found', fn(s => ({ ...s, data: s.data.a.b, kept: 2 }))); fn(s => ({ r: [s.found, s.kept, s.data.a.b] }))",
            json!([1, 2, 1]),
        ),
        ("alterState(s => ({ r: 1 }))", json!(1)),
        ("assert($.data.a.b === 1); fn(s => ({ r: 'ok' }))", json!("ok")),
        (
            "parseCsv($.data.csv); fn(s => ({ r: s.data }))",
            json!([{"id": "1", "name": "Amina"}, {"id": "2", "name": "Smith, John"}, {"id": "3", "name": "Zo\u{eb}"}]),
        ),
        (
            "parseCsv('a;b\\n1;2\\n3;4', { delimiter: ';', columns: false, chunkSize: 2 }, (s, rows) => ({ ...s, r: [...(s.r ?? []), rows.length] }))",
            json!([2, 1]),
        ),
    ]);
}

#[test]
fn a_cursor_takes_values_and_dates_in_words() {
    check(&[
        ("cursor('2026-01-02'); fn(s => ({ r: s.cursor }))", json!("2026-01-02")),
        ("cursor($.cursor, { defaultValue: 22 }); fn(s => ({ r: s.cursor }))", json!(22)),
        (
            "cursor('a', { key: 'page' }); cursor('b'); fn(s => ({ r: [s.page, s.cursor ?? null] }))",
            json!(["b", null]),
        ),
        (
            "cursor('today'); fn(s => ({ r: /^\\d{4}-\\d\\d-\\d\\dT00:00:00.000Z$/.test(s.cursor) }))",
            json!(true),
        ),
        ("cursor('yesterday', { format: d => d instanceof Date }); fn(s => ({ r: s.cursor }))", json!(true)),
        (
            "cursor('3 hours ago'); fn(s => ({ r: Math.round((Date.now() - new Date(s.cursor)) / 3600000) }))",
            json!(3),
        ),
        (
            "cursor('start'); const a = []; fn(s => { a.push(s.cursor); return s; }); cursor('start'); fn(s => ({ r: s.cursor === a[0] }))",
            json!(true),
        ),
    ]);
    let run = run("cursor(22);", json!({}));
    assert_eq!(run.lines(), ["Info Setting cursor to: 22"]);
    assert_eq!(run.state(), json!({"cursor": 22}));
}

#[test]
fn what_operations_write_has_their_level() {
    let run = run("debug($.data.a, 'x'); fn(s => { util.normalizeOauthConfig({}); return s; })", state());
    assert_eq!(run.lines()[0], "Debug {\"b\":1,\"dotted.key\":2} x");
    assert!(run.lines()[1].starts_with("Info Key \"access_token\" not found"), "{:?}", run.lines());
}

#[test]
fn an_operation_that_fails_is_an_adaptor_error_at_its_line() {
    let table = [
        ("fn(s => s);\nassert(false, 'not so');", "AdaptorError", "not so", 2),
        ("\nassert(0);", "AdaptorError", "assertion statement failed with 0", 2),
        ("each($.data.none, fn(s => s))", "AdaptorError", "the data source of each is not an array", 1),
        (
            "fn(s => s);\n\neach(undefined, fn(s => s))",
            "RuntimeError",
            "TypeError: dataSource argument for each operation is invalid.",
            3,
        ),
        ("fn(s => {\n  const a = 1;\n  throw new Error('own');\n})", "JobError", "own", 3),
    ];
    for (body, name, message, line) in table {
        let run = run(body, json!({}));
        let error = &run.state()["errors"]["job"];
        assert_eq!(
            (error["name"].as_str(), error["message"].as_str()),
            (Some(name), Some(message)),
            "{body}"
        );
        assert_eq!(error["pos"]["line"], json!(line), "{body}");
    }
}

#[test]
fn what_a_path_or_a_table_cannot_be_read_by_is_said() {
    let table = [
        ("source('$.data.a^')", "parents and types are not supported here: $.data.a^"),
        ("source('$.data.list[?(@.tag.at(0))]')", "at() is not supported in a filter: (@.tag.at(0))"),
        ("source('$.data.list[?(@.x > )]')", "this filter is not understood: (@.x > )"),
        ("source('$.data.list[?(@.x & 1)]')", "this filter is not understood from « & 1)» on: (@.x & 1)"),
        ("source('$.data.list[?((@.x)]')", "a bracket is open in the filter ((@.x)"),
        ("parseCsv('a,b\\n1')", "Invalid Record Length: columns length is 2, got 1 on line 2"),
        ("parseCsv('a\\n\"1')", "Quote Not Closed: the parsing is finished with an opening quote at line 2"),
        (
            "parseCsv('a,b\\n\"1\\n2\",x\"')",
            "Invalid Opening Quote: a quote is found on field \"b\" at line 3, value is \"x\"",
        ),
        (
            "parseCsv('a\\n\"x\"y')",
            "Invalid Closing Quote: got \"y\" at line 2 instead of delimiter, record delimiter, trimable character (if \
                activated) or comment",
        ),
    ];
    for (body, expected) in table {
        let message = run(body, state()).error().2.to_owned();
        assert!(message.ends_with(expected), "{body}: {message}");
    }
}

#[test]
fn a_name_of_the_language_may_be_declared_by_the_job() {
    check(&[
        ("const map = x => x + 1; const log = 5; fn(s => ({ r: map(log) }))", json!(6)),
        (
            "import { fn as run, each } from '@openfn/language-common@2.0.0'; run(s => ({ r: typeof each }))",
            json!("function"),
        ),
        (
            "import * as common from '@openfn/language-common'; common.fn(s => ({ r: common.dataPath('x') }))",
            json!("$.data.x"),
        ),
        ("fn(s => ({ r: typeof globalThis['each'] }))", json!("function")),
    ]);
}

#[test]
fn a_state_is_validated_against_a_schema() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["id", "tags"],
        "additionalProperties": false,
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "name": {"type": ["string", "null"], "minLength": 2, "pattern": "^[A-Z]"},
            "tags": {"type": "array", "maxItems": 2, "uniqueItems": true, "items": {"$ref": "#/definitions/tag"}},
            "kind": {"oneOf": [{"const": "a"}, {"enum": ["b", "c"]}]},
            "size": {"if": {"type": "number"}, "then": {"multipleOf": 0.5}, "else": {"not": {"const": "big"}}},
        },
        "definitions": {"tag": {"type": "string"}},
    });
    let table = [
        (json!({"id": 1, "tags": ["x"], "name": null, "kind": "b", "size": 1.5}), None),
        (json!({"tags": []}), Some(("", "must have required property 'id'"))),
        (json!({"id": 1.5, "tags": []}), Some(("/id", "must be integer"))),
        (json!({"id": 0, "tags": []}), Some(("/id", "must be >= 1"))),
        (json!({"id": 1, "tags": ["x", 2]}), Some(("/tags/1", "must be string"))),
        (
            json!({"id": 1, "tags": ["x", "x"]}),
            Some(("/tags", "must NOT have duplicate items (items ## 0 and 1 are identical)")),
        ),
        (json!({"id": 1, "tags": [], "name": "A"}), Some(("/name", "must NOT have fewer than 2 characters"))),
        (json!({"id": 1, "tags": [], "name": "abc"}), Some(("/name", "must match pattern \"^[A-Z]\""))),
        (
            json!({"id": 1, "tags": [], "kind": "d"}),
            Some(("/kind", "must match exactly one schema in oneOf")),
        ),
        (json!({"id": 1, "tags": [], "size": 0.3}), Some(("/size", "must be multiple of 0.5"))),
        (json!({"id": 1, "tags": [], "size": "big"}), Some(("/size", "must NOT be valid"))),
        (json!({"id": 1, "tags": [], "more": 1}), Some(("", "must NOT have additional properties"))),
    ];
    for (data, expected) in table {
        let run = run("validate()", json!({"schema": schema, "data": data}));
        let errors = &run.state()["validationErrors"];
        let last = errors[0]["errors"].as_array().and_then(|errors| errors.last()).unwrap_or(&Value::Null);
        let found = last["instancePath"].as_str().zip(last["message"].as_str());
        assert_eq!(found, expected, "{data}: {errors} {:?}", run.end().error);
    }
    let run = run("validate({ format: 'email' }, 'form')", json!({"form": "x"}));
    assert_eq!(run.error().2, "the keyword \"format\" of this schema is not supported here");
}
