//! Puts all mutants into one build: each is chosen at run time, so that a mutant costs a test run and not a build.
//!
//! ```text
//! regrip-mutants LIST UNVIABLE ROOT
//! ```
//!
//! `LIST` is what `cargo mutants --list --json` prints, `UNVIABLE` a file with the numbers of those that do not compile, one a line, and
//! `ROOT` a copy of the workspace, whose sources are rewritten: a mutant `a + b` of `a - b` becomes
//! `(if crate::mutant::is(7) { a + b } else { a - b })`. Prints the number of each mutant and the line of its code there, as
//! `number file first-line last-line`; those that this form cannot express are not printed.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::{env, fs};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

#[derive(Deserialize)]
struct Mutant {
    file: String,
    genre: String,
    replacement: String,
    span: Area,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Area {
    start: Place,
    end: Place,
}

/// From 1 on; columns count characters.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: usize,
    column: usize,
}

/// The switch, as a module of the crate. A mutant that a test reaches is appended to the file of `REGRIP_MUTANTS_REACHED` once.
const SWITCH: &str = r#"
#[allow(missing_docs, dead_code)]
pub mod mutant {
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static CHOSEN: LazyLock<u32> =
        LazyLock::new(|| std::env::var("REGRIP_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX));
    static REACHED: LazyLock<Option<std::fs::File>> = LazyLock::new(|| {
        let path = std::env::var_os("REGRIP_MUTANTS_REACHED")?;
        std::fs::OpenOptions::new().create(true).append(true).open(path).ok()
    });
    static SEEN: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];
    pub fn is(number: u32) -> bool {
        if let Some(mut file) = REACHED.as_ref()
            && !SEEN[number as usize].swap(true, Ordering::Relaxed)
        {
            let _ = file.write_all(format!("{number}\n").as_bytes());
        }
        *CHOSEN == number
    }
}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [list, unviable, root] = &*arguments else { return Err("LIST UNVIABLE ROOT".into()) };
    let mutants: Vec<Mutant> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let unviable = fs::read_to_string(unviable).unwrap_or_default();
    let unviable: BTreeSet<usize> = unviable.lines().filter_map(|line| line.parse().ok()).collect();
    let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in mutants.iter().enumerate().filter(|(number, _)| !unviable.contains(number)) {
        by_file.entry(&mutant.file).or_default().push((number, mutant));
    }
    for (file, mutants) in by_file {
        let path = Path::new(root).join(file);
        let text = rewrite(file, &fs::read_to_string(&path)?, &mutants)?;
        fs::write(path, text)?;
    }
    let library = Path::new(root).join("core/src/lib.rs");
    let text = fs::read_to_string(&library)? + SWITCH;
    fs::write(library, text)?;
    Ok(())
}

/// What can be mutated in a file, by the place that cargo-mutants names.
#[derive(Default)]
struct Code {
    /// By the operator: the whole expression, and the end of its left side or the start of its operand.
    operators: BTreeMap<Place, (Area, Place)>,
    /// By the arm: the end of its pattern, and its guard.
    arms: BTreeMap<Place, (Place, Option<Area>)>,
    /// By the field: the struct expression, and where the next field or the base begins.
    fields: BTreeMap<Place, (Area, Place)>,
}

impl<'a> Visit<'a> for Code {
    fn visit_expr_binary(&mut self, expression: &'a syn::ExprBinary) {
        if !has_let(&expression.left) && !has_let(&expression.right) {
            let op = area(&expression.op);
            self.operators.insert(op.start, (area(expression), op.end));
        }
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'a syn::ExprUnary) {
        let op = area(&expression.op);
        self.operators.insert(op.start, (area(expression), op.end));
        visit::visit_expr_unary(self, expression);
    }

    fn visit_arm(&mut self, arm: &'a syn::Arm) {
        let guard = arm.guard.as_ref().map(|(_, guard)| area(&**guard));
        self.arms.insert(area(&arm.pat).start, (area(&arm.pat).end, guard));
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'a syn::ExprStruct) {
        if let Some(rest) = &expression.dot2_token {
            let starts: Vec<Place> = expression.fields.iter().map(|field| area(field).start).collect();
            for (index, start) in starts.iter().enumerate() {
                let next = starts.get(index + 1).copied().unwrap_or(area(rest).start);
                self.fields.insert(*start, (area(expression), next));
            }
        }
        visit::visit_expr_struct(self, expression);
    }
}

fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

fn area(of: &impl Spanned) -> Area {
    let span = of.span();
    let place = |at: proc_macro2::LineColumn| Place { line: at.line, column: at.column + 1 };
    Area { start: place(span.start()), end: place(span.end()) }
}

/// Text that is put in: where, and in which order there.
struct Insertion {
    at: Place,
    /// Closing texts come first, inner before outer; then opening ones, outer before inner.
    order: (bool, i64, i64),
    text: String,
}

fn rewrite(file: &str, text: &str, mutants: &[(usize, &Mutant)]) -> Result<String, Box<dyn Error>> {
    let mut code = Code::default();
    code.visit_file(&syn::parse_file(text)?);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let offset = |place: Place| -> usize {
        let before: usize = lines.iter().take(place.line - 1).map(|line| line.len()).sum();
        let line = lines.get(place.line - 1).copied().unwrap_or_default();
        before + line.chars().take(place.column - 1).map(char::len_utf8).sum::<usize>()
    };
    let cut = |from: Place, to: Place| text.get(offset(from)..offset(to)).unwrap_or_default();
    let length = |area: Area| i64::try_from(offset(area.end) - offset(area.start)).unwrap_or(0);
    let mut insertions: Vec<Insertion> = Vec::new();
    for (number, mutant) in mutants {
        let (is, tie) = (format!("crate::mutant::is({number})"), i64::try_from(*number)?);
        let Area { start, end } = mutant.span;
        let mut wrap = |all: Area, instead: String| {
            let order = (true, -length(all), tie);
            insertions.push(Insertion { at: all.start, order, text: format!("(if {is} {{ {instead} }} else {{ ") });
            insertions.push(Insertion { at: all.end, order: (false, length(all), -tie), text: " })".to_owned() });
        };
        let replacement = &mutant.replacement;
        match mutant.genre.as_str() {
            "FnValue" => {
                let text = format!("if {is} {{ return {replacement}; }} ");
                insertions.push(Insertion { at: start, order: (true, i64::MIN, tie), text });
            }
            "BinaryOperator" | "UnaryOperator" => {
                let Some((all, _)) = code.operators.get(&start) else { continue };
                wrap(*all, format!("{}{replacement}{}", cut(all.start, start), cut(end, all.end)));
            }
            "MatchArmGuard" => wrap(mutant.span, replacement.clone()),
            "MatchArm" => match code.arms.get(&start) {
                Some((after, None)) => {
                    let text = format!(" if !{is}");
                    insertions.push(Insertion { at: *after, order: (true, i64::MIN, tie), text });
                }
                Some((_, Some(guard))) => wrap(*guard, "false".to_owned()),
                None => continue,
            },
            "StructField" => {
                let Some((all, next)) = code.fields.get(&start) else { continue };
                wrap(*all, format!("{}{}", cut(all.start, start), cut(*next, all.end)));
            }
            other => return Err(format!("an unknown genre of mutants: {other}").into()),
        }
        println!("{number} {file} {} {}", start.line, end.line);
    }
    insertions.sort_by_key(|insertion| (insertion.at, insertion.order));
    let (mut rewritten, mut done) = (String::new(), 0);
    for insertion in insertions {
        let at = offset(insertion.at);
        rewritten.push_str(text.get(done..at).unwrap_or_default());
        // On its own line, an error of the compiler names its mutant.
        rewritten.push_str(&insertion.text);
        done = at;
    }
    rewritten.push_str(text.get(done..).unwrap_or_default());
    Ok(rewritten)
}
