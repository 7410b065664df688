//! All routes of a host: no two of them want the same request.

use std::collections::BTreeSet;

use super::{
    route::{Route, RouteError},
    template::Overlap,
};

/// Routes of one host: each request is compared with all of them.
const MAX_ROUTES: usize = 256;

/// The routes, each request of which is of one of them at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    /// Those that name more of a path before those that name less.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    route: Route,
    /// In descriptions; no other one has it.
    name: String,
    /// Its place among those that were written.
    place: usize,
}

impl RouteTable {
    /// Checks routes against each other.
    ///
    /// # Errors
    /// When two of them are ambiguous, or there are too many; with the place of the later one.
    pub fn new(routes: Vec<Route>) -> Result<Self, (usize, RouteError)> {
        if routes.len() > MAX_ROUTES {
            let why = format!("there are more than {MAX_ROUTES} routes");
            return Err((MAX_ROUTES, RouteError::new("path", why, "fewer routes: `POST /mcp` calls every tool")));
        }
        for (at, route) in routes.iter().enumerate() {
            for earlier in routes.iter().take(at) {
                against(route, earlier).map_err(|error| (at, error))?;
            }
        }
        let mut names = BTreeSet::new();
        let mut entries: Vec<_> = Vec::with_capacity(routes.len());
        for (place, route) in routes.iter().enumerate() {
            let alone = routes.iter().filter(|other| other.tool() == route.tool()).count() == 1;
            let base = match alone {
                true => route.tool().to_string(),
                false => format!("{}_{}", route.method().as_str().to_ascii_lowercase(), route.tool()),
            };
            let numbered = (2..).map(|number: usize| format!("{base}_{number}"));
            let name = std::iter::once(base.clone()).chain(numbered).find(|name| !names.contains(name));
            let name = name.unwrap_or(base);
            names.insert(name.clone());
            entries.push(Entry { route: route.clone(), name, place });
        }
        entries.sort_by_key(|entry| entry.route.path().rank());
        Ok(Self { entries })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The routes, in the order in which they are looked at.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.entries.iter().map(|entry| &entry.route)
    }

    /// The routes, in the order in which they were written.
    pub(super) fn written(&self) -> Vec<&Route> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.place);
        entries.into_iter().map(|entry| &entry.route).collect()
    }

    /// The routes, each with its name in descriptions, which no other one has.
    pub(super) fn named(&self) -> impl Iterator<Item = (&Route, &str)> {
        self.entries.iter().map(|entry| (&entry.route, entry.name.as_str()))
    }

    /// The routes of a path, whatever their method: of those of one method the first is meant.
    pub(super) fn of_path<'a>(&'a self, path: &'a str) -> impl Iterator<Item = Matched<'a>> {
        self.routes().filter_map(move |route| Some(Matched { route, captured: route.path().captures(path)? }))
    }
}

/// A route with what a path has for its parameters, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Matched<'a> {
    pub(super) route: &'a Route,
    pub(super) captured: Vec<(&'a str, &'a str)>,
}

fn against(route: &Route, earlier: &Route) -> Result<(), RouteError> {
    let wrong = |why: String, hint: String| Err(RouteError::new("path", why, hint));
    let same_method = route.method() == earlier.method();
    match route.path().overlap(earlier.path()) {
        Overlap::Same if same_method => wrong(
            format!("`{}` wants what `{}` wants already", route.as_str(), earlier.as_str()),
            "keep one of the two".into(),
        ),
        // The description has one entry for a path, with one set of names (OpenAPI 3.1.1, "Paths Object").
        Overlap::Same if route.path() != earlier.path() => wrong(
            format!("`{}` and `{}` have other names for the same parameters", route.as_str(), earlier.as_str()),
            format!("path = \"{}\"", earlier.path()),
        ),
        Overlap::Ambiguous if same_method => wrong(
            format!("some paths are of `{}` as much as of `{}`", route.as_str(), earlier.as_str()),
            "a path that differs in a segment that has no parameter in either".into(),
        ),
        Overlap::None | Overlap::Same | Overlap::Ranked | Overlap::Ambiguous => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::routes::route::Source;

    fn route(method: &str, path: &str, arguments: &[(&str, &str)]) -> Result<Route, RouteError> {
        let arguments =
            arguments.iter().map(|(name, source)| ((*name).to_owned(), Source::read(source).expect(source)));
        Route::new(method, path, "a_tool", arguments.collect(), None)
    }

    fn table(routes: &[(&str, &str)]) -> Result<RouteTable, (usize, RouteError)> {
        RouteTable::new(routes.iter().map(|(method, path)| route(method, path, &[]).expect(path)).collect())
    }

    #[test]
    fn routes_that_cannot_be_are_refused_with_the_mend() {
        let check = |method: &str, path: &str, arguments: &[(&str, &str)], expected: &str| {
            let error = route(method, path, arguments).expect_err(expected);
            assert!(error.to_string().contains(expected) && !error.hint.is_empty(), "{error}");
        };
        check("get", "/a", &[], "`method`: methods are written in capitals");
        check("HEAD", "/a", &[], "`method`: `HEAD` is answered by the host itself");
        check("TRACE", "/a", &[], "`method`: expected `GET`");
        check("GET", "/a/{", &[], "`path`: ");
        check("GET", "/a", &[("k", "path.id")], "`arguments`: `k` comes from `path.id`, which the path does not have");
        check("GET", "/a", &[("k", "body.k")], "`arguments`: `k` comes from the body, and GET has none");
        check("DELETE", "/a", &[("k", "body")], "`arguments`: `k` comes from the body, and DELETE has none");
        check("POST", "/a", &[("k", "body"), ("l", "body.l")], "as a whole, or by its fields");
        check("POST", "/a", &[("k", "body"), ("l", "body")], "as a whole, or by its fields");
        check("GET", "/a/{id}", &[("id", "query.id")], "the parameter `id` of the path goes to no argument");
        let long = Route::new(
            "GET",
            "/a",
            "a_tool",
            BTreeMap::from([("k".into(), Source::Constant(json!("x".repeat(5000))))]),
            None,
        );
        assert!(long.expect_err("long").why.contains("4096 bytes"));
        let named = Route::new("GET", "/a", "no tool", BTreeMap::new(), None).expect_err("a name");
        assert_eq!(named.key, "tool");
        for source in ["path", "path.", "path.a-b", "query", "query.", "header.x", "", "body.", "Body"] {
            assert!(Source::read(source).is_err(), "{source}");
        }
    }

    #[test]
    fn two_routes_do_not_want_one_request() {
        let refused = |routes: &[(&str, &str)], expected: &str| {
            let (at, error) = table(routes).expect_err(expected);
            assert!(at == 1 && error.why.contains(expected), "{error}");
        };
        refused(&[("GET", "/a/{x}"), ("GET", "/a/{x}")], "wants already");
        refused(&[("GET", "/a/{x}"), ("GET", "/a/{y}")], "wants already");
        refused(&[("GET", "/a/{x}"), ("POST", "/a/{y}")], "other names");
        refused(&[("GET", "/a/{x}/c"), ("GET", "/a/b/{y}")], "as much as of");
        let table =
            table(&[("GET", "/a/{x}"), ("GET", "/a/b"), ("POST", "/a/{x}"), ("PUT", "/a/{x}/c"), ("GET", "/a/b/{y}")]);
        let table = table.expect("a table");
        let of = |path: &str| table.of_path(path).map(|matched| matched.route.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(of("/a/b"), ["GET /a/b", "GET /a/{x}", "POST /a/{x}"]);
        assert_eq!(of("/a/z"), ["GET /a/{x}", "POST /a/{x}"]);
        assert_eq!(of("/a"), Vec::<String>::new());
        let names: BTreeSet<_> = table.named().map(|(_, name)| name.to_owned()).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }

    #[test]
    fn a_host_has_so_many_routes() {
        let route = |at: usize| route("GET", &format!("/a{at}"), &[]).expect("a route");
        assert!(RouteTable::new((0..MAX_ROUTES).map(route).collect()).is_ok());
        let (at, error) = RouteTable::new((0..=MAX_ROUTES).map(route).collect()).expect_err("too many");
        assert!(at == MAX_ROUTES && error.why.contains("more than 256"), "{error}");
    }
}
