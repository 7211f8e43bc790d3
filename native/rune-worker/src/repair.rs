//! Keeps scripts away from a fault of Rune 0.14.2 that corrupts memory.
//!
//! `ObjectIndexGetAt` reads a field of the value in one slot of the stack and writes it to another.
//! Where both are the same slot, as in `node = node.next`, the write can free the object while a
//! guard on it is still held, and the guard then writes to freed memory. Here such an instruction
//! is led around a piece of code that first copies the object to a slot of its own:
//!
//! ```text
//! 7: object-index-get-at 1, "next", 1        7: jump 20
//!                                           20: allocate 6
//!                                           21: copy 1, 5
//!                                           22: object-index-get-at 5, "next", 1
//!                                           23: store (), 5
//!                                           24: jump 8
//! ```
//!
//! The pieces stand behind the last instruction, so nothing else moves. Rune shows the parts of a
//! unit's logic to serialisers only, hence the way through JSON; units without the fault do not take it.

use rune::alloc::prelude::TryClone;
use rune::runtime::debug::DebugInfo;
use rune::runtime::unit::{ArrayUnit, Logic};
use rune::{Hash, Unit};
use serde_json::{Value as Json, json};

use crate::values::Variants;

const FAULTY: &str = "ObjectIndexGetAt";

/// A unit without the fault.
pub struct Repaired {
    /// The unit.
    pub unit: Unit,
    /// Names of its variants; the unit itself may have lost them.
    pub variants: Variants,
}

/// The same unit without the fault; None if that cannot be done.
#[must_use]
pub fn repaired(unit: Unit) -> Option<Repaired> {
    let mut logic = serde_json::to_value(unit.logic()).ok()?;
    let variants = variants(&logic);
    let instructions = logic["storage"]["instructions"].as_array()?;
    let faulty: Vec<usize> = (0..instructions.len())
        .filter(|at| is_faulty(&instructions[*at]))
        .collect();
    if faulty.is_empty() {
        return Some(Repaired { unit, variants });
    }
    let mut debug = match unit.debug_info() {
        Some(debug) => Some(debug.try_clone().ok()?),
        None => None,
    };
    lead_around(&mut logic, debug.as_mut(), &faulty)?;
    // Rune cannot read the names of types that it wrote. Nothing but messages needs them.
    for (_, described) in logic["rtti"].as_object_mut()? {
        described["item"] = json!([]);
    }
    let logic: Logic<ArrayUnit> = serde_json::from_value(logic).ok()?;
    let unit = Unit::from_parts(logic, debug).ok()?;
    Some(Repaired { unit, variants })
}

fn lead_around(
    logic: &mut Json,
    mut debug: Option<&mut DebugInfo>,
    faulty: &[usize],
) -> Option<()> {
    let free = free_slot(logic)?;
    let instructions = logic["storage"]["instructions"].as_array_mut()?;
    for at in faulty {
        let get = instructions[*at][FAULTY].clone();
        let piece = [
            json!({"Allocate": {"size": free + 1}}),
            json!({"Copy": {"addr": get["addr"], "out": free}}),
            json!({FAULTY: {"addr": {"offset": free}, "slot": get["slot"], "out": get["out"]}}),
            json!({"Store": {"value": "Unit", "out": free}}),
            json!({"Jump": {"jump": at + 1}}),
        ];
        instructions[*at] = json!({"Jump": {"jump": instructions.len()}});
        for instruction in piece {
            if let Some(debug) = debug.as_deref_mut()
                && let Some(place) = debug.instructions.get(at)
            {
                let place = place.try_clone().ok()?;
                let places = &mut debug.instructions;
                places.try_insert(instructions.len(), place).ok()?;
            }
            instructions.push(instruction);
        }
    }
    Some(())
}

/// Names of variants, by their hash.
fn variants(logic: &Json) -> Variants {
    let none = serde_json::to_value(Hash::EMPTY).unwrap_or_default();
    let types = logic["rtti"].as_object();
    types
        .into_iter()
        .flat_map(|types| types.values())
        .filter(|described| described["variant_hash"] != none)
        .filter_map(|described| {
            let name = described["item"].as_array()?.last()?["Str"].as_str()?;
            Some((described["variant_hash"].to_string(), name.to_owned()))
        })
        .collect()
}

fn is_faulty(instruction: &Json) -> bool {
    let get = &instruction[FAULTY];
    !get.is_null() && get["addr"]["offset"] == get["out"]
}

/// A slot that no function uses: all frames end before it.
fn free_slot(logic: &Json) -> Option<u64> {
    let instructions = logic["storage"]["instructions"].as_array()?;
    let frames = instructions.iter().map(|one| &one["Allocate"]["size"]);
    let functions = logic["functions"].as_object()?;
    let arguments = functions.values().map(|one| &one["Offset"]["args"]);
    frames.chain(arguments).filter_map(Json::as_u64).max()
}
