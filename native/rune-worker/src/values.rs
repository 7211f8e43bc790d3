//! JSON data becomes values of Rune, and the other way round.

use std::collections::HashMap;

use rune::alloc;
use rune::runtime::{Bytes, Object, Rtti, TypeValue, Vec as RuneVec, VmError};
use rune::{Hash, ItemBuf, TypeHash, Value};
use serde_json::{Map, Number, Value as Json};

/// Deepest nesting of a value, in both directions.
pub const MAX_DEPTH: usize = 100;

/// Why a value could not cross.
#[derive(Debug, PartialEq, Eq)]
pub enum ValueError {
    /// It is nothing that the other side has.
    Unfit {
        /// Where it is, such as `$.items[3]`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It takes more bytes than allowed.
    TooLarge,
    /// The memory limit of the script does not allow it.
    Memory,
    /// It is an `Err`, at the very top.
    Failed(Result<Json, String>),
}

impl From<alloc::Error> for ValueError {
    fn from(_: alloc::Error) -> Self {
        Self::Memory
    }
}

/// The place of a value inside the one that is converted, kept as a list of steps back to the top.
#[derive(Clone, Copy)]
enum Path<'a> {
    Top(&'a str),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn depth(&self) -> usize {
        match self {
            Self::Top(_) => 0,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.depth() + 1,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Top(name) => (*name).to_owned(),
            Self::Key(parent, key) => {
                let plain = key.chars().all(|c| c == '_' || c.is_alphanumeric());
                if plain && !key.is_empty() && key.len() <= 100 {
                    format!("{}.{key}", parent.text())
                } else {
                    let short: String = key.chars().take(100).collect();
                    format!("{}[{short:?}]", parent.text())
                }
            }
            Self::Index(parent, index) => format!("{}[{index}]", parent.text()),
        }
    }

    fn unfit(&self, reason: impl Into<String>) -> ValueError {
        ValueError::Unfit {
            path: self.text(),
            reason: reason.into(),
        }
    }

    fn check_depth(&self) -> Result<(), ValueError> {
        if self.depth() > MAX_DEPTH {
            return Err(ValueError::Unfit {
                path: "$".into(),
                reason: format!("it is nested more than {MAX_DEPTH} deep"),
            });
        }
        Ok(())
    }
}

/// The value of Rune for JSON data; `name` begins the paths of errors.
pub fn to_rune(json: &Json, name: &str) -> Result<Value, ValueError> {
    rune_value(json, Path::Top(name))
}

fn rune_value(json: &Json, path: Path<'_>) -> Result<Value, ValueError> {
    path.check_depth()?;
    Ok(match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => number_value(number, path)?,
        Json::String(text) => Value::try_from(alloc::String::try_from(text.as_str())?)?,
        Json::Array(items) => {
            let mut values = alloc::Vec::try_with_capacity(items.len())?;
            for (index, item) in items.iter().enumerate() {
                values.try_push(rune_value(item, Path::Index(&path, index))?)?;
            }
            Value::vec(values)?
        }
        Json::Object(members) => {
            let mut object = Object::new();
            for (key, item) in members {
                let value = rune_value(item, Path::Key(&path, key))?;
                object.insert(alloc::String::try_from(key.as_str())?, value)?;
            }
            Value::try_from(object)?
        }
    })
}

fn number_value(number: &Number, path: Path<'_>) -> Result<Value, ValueError> {
    let text = number.as_str();
    if text.contains(['.', 'e', 'E']) {
        let float: f64 = text.parse().unwrap_or(f64::INFINITY);
        if !float.is_finite() {
            return Err(path.unfit("the number is beyond the range of floats"));
        }
        return Ok(Value::from(float));
    }
    match text.parse::<i64>() {
        Ok(integer) => Ok(Value::from(integer)),
        Err(_) => Err(path.unfit("the integer does not fit into 64 bits")),
    }
}

/// The JSON data for a value of Rune, at most about `max_bytes` long.
///
/// To be called where a virtual machine is set up, since maps are read through their iterators.
pub fn to_json(
    value: &Value,
    name: &str,
    max_bytes: usize,
    variants: &Variants,
) -> Result<Json, ValueError> {
    let mut writer = Writer::new(max_bytes, variants);
    writer.json(value, Path::Top(name))
}

/// As [`to_json`], where `Ok(x)` is `x` and `Err(e)` is [`ValueError::Failed`].
pub fn result_to_json(
    value: &Value,
    name: &str,
    max_bytes: usize,
    variants: &Variants,
) -> Result<Json, ValueError> {
    let mut writer = Writer::new(max_bytes, variants);
    let path = Path::Top(name);
    if value.type_hash() == <Result<Value, Value> as TypeHash>::HASH {
        let result = value
            .borrow_ref::<Result<Value, Value>>()
            .map_err(|error| path.unfit(error.to_string()))?;
        if let Err(error) = &*result {
            let json = writer.json(error, path);
            return Err(ValueError::Failed(json.map_err(|error| error.to_string())));
        }
    }
    writer.json(value, path)
}

/// Names of the variants of enums, by their hash in decimal digits.
pub type Variants = HashMap<String, String>;

/// Reads values of Rune and counts what they will take.
struct Writer<'a> {
    left: usize,
    variants: &'a Variants,
    shapes: HashMap<usize, Shape>,
}

/// What is known of a struct or variant.
#[derive(Clone)]
struct Shape {
    fields: Vec<String>,
    variant: Option<String>,
}

impl<'v> Writer<'v> {
    fn new(max_bytes: usize, variants: &'v Variants) -> Self {
        Self {
            left: max_bytes,
            variants,
            shapes: HashMap::new(),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ValueError> {
        self.left = self.left.checked_sub(bytes).ok_or(ValueError::TooLarge)?;
        Ok(())
    }

    fn json(&mut self, value: &Value, path: Path<'_>) -> Result<Json, ValueError> {
        path.check_depth()?;
        self.spend(2)?;
        match value
            .as_type_value()
            .map_err(|error| path.unfit(error.to_string()))?
        {
            TypeValue::Unit => Ok(Json::Null),
            TypeValue::Tuple(items) => self.array(items.iter(), path),
            TypeValue::Object(object) => {
                let mut members: Vec<(&str, &Value)> = object
                    .iter()
                    .map(|(key, item)| (key.as_str(), item))
                    .collect();
                members.sort_unstable_by_key(|(key, _)| *key);
                self.object(members, path)
            }
            TypeValue::EmptyStruct(empty) => self.dynamic(empty.rtti(), &[], path),
            TypeValue::TupleStruct(tuple) => self.dynamic(tuple.rtti(), tuple.data(), path),
            TypeValue::Struct(data) => self.dynamic(data.rtti(), data.data(), path),
            _ => self.other(value, path),
        }
    }

    fn array<'a>(
        &mut self,
        items: impl Iterator<Item = &'a Value>,
        path: Path<'_>,
    ) -> Result<Json, ValueError> {
        let mut array = Vec::new();
        for (index, item) in items.enumerate() {
            array.push(self.json(item, Path::Index(&path, index))?);
        }
        Ok(Json::Array(array))
    }

    fn object<'a>(
        &mut self,
        members: impl IntoIterator<Item = (&'a str, &'a Value)>,
        path: Path<'_>,
    ) -> Result<Json, ValueError> {
        let mut object = Map::new();
        for (key, item) in members {
            self.spend(key.len() + 4)?;
            object.insert(key.to_owned(), self.json(item, Path::Key(&path, key))?);
        }
        Ok(Json::Object(object))
    }

    fn dynamic(&mut self, rtti: &Rtti, data: &[Value], path: Path<'_>) -> Result<Json, ValueError> {
        // The address names the type: the value, and with it the type, outlives this conversion.
        let key = std::ptr::from_ref(rtti).addr();
        let variants = self.variants;
        let known = self.shapes.entry(key);
        let shape = known.or_insert_with(|| shape(rtti, variants)).clone();
        let numbers = (shape.fields.len()..data.len()).map(|index| index.to_string());
        let names: Vec<String> = shape.fields.iter().cloned().chain(numbers).collect();
        let mut object = Map::new();
        if let Some(variant) = shape.variant {
            if names.iter().any(|name| name == "variant") {
                return Err(path.unfit("the variant has a field called `variant` itself"));
            }
            self.spend(variant.len() + 12)?;
            object.insert("variant".into(), Json::String(variant));
        }
        for (name, item) in names.into_iter().zip(data) {
            self.spend(name.len() + 4)?;
            let json = self.json(item, Path::Key(&path, &name))?;
            object.insert(name, json);
        }
        Ok(Json::Object(object))
    }

    fn other(&mut self, value: &Value, path: Path<'_>) -> Result<Json, ValueError> {
        if let Ok(flag) = value.as_bool() {
            self.spend(3)?;
            return Ok(Json::Bool(flag));
        }
        if let Ok(integer) = value.as_signed() {
            self.spend(8)?;
            return Ok(Json::from(integer));
        }
        if let Ok(float) = value.as_float() {
            self.spend(12)?;
            return Number::from_f64(float)
                .map(Json::Number)
                .ok_or_else(|| path.unfit(format!("{float} is no JSON number")));
        }
        if let Ok(unsigned) = value.as_unsigned() {
            self.spend(8)?;
            return i64::try_from(unsigned)
                .map(Json::from)
                .map_err(|_| path.unfit("the integer does not fit into 64 bits with a sign"));
        }
        if let Ok(character) = value.as_char() {
            self.spend(character.len_utf8())?;
            return Ok(Json::String(character.to_string()));
        }
        self.native(value, path)
    }

    fn native(&mut self, value: &Value, path: Path<'_>) -> Result<Json, ValueError> {
        let unreadable = |error: &dyn std::fmt::Display| path.unfit(error.to_string());
        let hash = value.type_hash();
        if hash == alloc::String::HASH {
            let text = value.borrow_string_ref().map_err(|e| unreadable(&e))?;
            self.spend(text.len())?;
            return Ok(Json::String(text.to_owned()));
        }
        if hash == RuneVec::HASH {
            let items = value.borrow_ref::<RuneVec>().map_err(|e| unreadable(&e))?;
            return self.array(items.iter(), path);
        }
        if hash == <Option<Value> as TypeHash>::HASH {
            let option = value
                .borrow_ref::<Option<Value>>()
                .map_err(|e| unreadable(&e))?;
            return match &*option {
                Some(item) => self.json(item, path),
                None => Ok(Json::Null),
            };
        }
        if hash == <Result<Value, Value> as TypeHash>::HASH {
            let result = value
                .borrow_ref::<Result<Value, Value>>()
                .map_err(|e| unreadable(&e))?;
            return match &*result {
                Ok(item) => self.json(item, path),
                Err(_) => Err(path.unfit("an Err is no JSON data")),
            };
        }
        if hash == Bytes::HASH {
            let bytes = value.borrow_ref::<Bytes>().map_err(|e| unreadable(&e))?;
            self.spend(4 * bytes.len())?;
            return Ok(Json::from(bytes.as_slice()));
        }
        if hash == type_of(["collections", "hash_map", "HashMap"]) {
            return self.hash_map(value, path);
        }
        if hash == type_of(["collections", "vec_deque", "VecDeque"]) {
            let items = listed(value).map_err(|e| unreadable(&e))?;
            return self.array(items.iter(), path);
        }
        let what = value.type_info().to_string();
        Err(path.unfit(format!("a value of type {what} is no JSON data")))
    }

    fn hash_map(&mut self, value: &Value, path: Path<'_>) -> Result<Json, ValueError> {
        let unreadable = |error: &dyn std::fmt::Display| path.unfit(error.to_string());
        let mut members = Vec::new();
        let pairs = listed(value).map_err(|e| unreadable(&e))?;
        for pair in &pairs {
            let pair = pair.borrow_tuple_ref().map_err(|e| unreadable(&e))?;
            let [key, item] = &pair[..] else {
                return Err(path.unfit("the map cannot be read"));
            };
            let key = key
                .borrow_string_ref()
                .map_err(|_| path.unfit("a key of the map is no string"))?
                .to_owned();
            members.push((key, item.clone()));
        }
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.object(members.iter().map(|(key, item)| (key.as_str(), item)), path)
    }
}

/// The items that a collection iterates over.
fn listed(value: &Value) -> Result<RuneVec, VmError> {
    let mut items = RuneVec::new();
    items.extend(value.clone()).into_result()?;
    Ok(items)
}

fn type_of(path: [&str; 3]) -> Hash {
    ItemBuf::with_crate_item("std", path).map_or(Hash::EMPTY, |item| Hash::type_hash(&item))
}

/// Names and order of the fields of a type, which Rune shows to serialisers only.
fn shape(rtti: &Rtti, variants: &Variants) -> Shape {
    let described = serde_json::to_value(rtti).unwrap_or_default();
    let mut fields: Vec<(u64, String)> = described["fields"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, index)| (index.as_u64().unwrap_or_default(), name.clone()))
        .collect();
    fields.sort_unstable();
    let variant = variants
        .get(&described["variant_hash"].to_string())
        .cloned();
    Shape {
        fields: fields.into_iter().map(|(_, name)| name).collect(),
        variant,
    }
}

impl std::fmt::Display for ValueError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unfit { path, reason } => write!(formatter, "{path}: {reason}."),
            Self::TooLarge => write!(formatter, "The value is too large."),
            Self::Memory => write!(formatter, "The memory limit does not allow the value."),
            Self::Failed(_) => write!(formatter, "The function returned an Err."),
        }
    }
}
