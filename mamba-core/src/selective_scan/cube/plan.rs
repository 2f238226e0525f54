//! How the cubes of the scan share the work, from the properties of the device.

use crate::cube::{Math, is_software};
use crate::selective_scan::backend::ScanConfig;
use cubecl::client::Client;
use cubecl::ir::HardwareProperties;

/// What a kernel is compiled for: the scan, and the shape of a cube, `channels / wide * split` units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub d_state: usize,
    /// Tokens between two saved states.
    pub chunk: usize,
    pub delta_softplus: bool,
    pub reverse: bool,
    /// Channels of a cube, neighbours.
    pub channels: usize,
    /// Channels of a unit, neighbours: they share what it reads of b and c.
    pub wide: usize,
    /// Units that share the states of a channel.
    pub split: usize,
    /// States of a unit, an even number.
    pub states: usize,
    /// Tokens that are in shared memory at a time.
    pub tile: usize,
    /// Tokens whose gradients of b and c are summed at a time.
    pub summed: usize,
    /// Tokens whose states a unit of the backward kernel keeps.
    pub window: usize,
    /// Tokens that a unit of the forward kernel reads from shared memory together.
    pub held: usize,
    /// Neighbouring tokens that lie side by side in shared memory, which a unit reads and writes together: one in the backward
    /// kernels.
    pub run: usize,
    /// Whether all states start as zeros, or going back their gradients do, and nothing is read for them.
    pub fresh: bool,
    /// States of b and c that a unit takes from shared memory together: 2 or 4.
    pub quad: usize,
    /// Of these, those that are read together from memory.
    pub vector: usize,
    /// Whether inputs are bf16.
    pub bf16: bool,
    /// Whether every token is less than 2^32 elements behind the first of its sequence. The way there is then computed in 32
    /// bits, also where addresses have 64: all of it in 64 would cost a tenth more time.
    pub near: bool,
    /// Whether the tokens of a tile are unrolled.
    pub unroll: bool,
    pub math: Math,
}

/// How tensors lie: what can be read together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors {
    /// Neighbouring channels.
    pub channels: usize,
    /// Neighbouring states of b and c.
    pub states: usize,
    /// Whether they are bf16.
    pub bf16: bool,
}

impl Plan {
    /// For the forward kernels; `rows` are the channels of all batch rows.
    pub(crate) fn forward(client: &Client, rows: usize, d_state: usize, vectors: Vectors, config: ScanConfig) -> Self {
        let few = wants_more_units(client, 1, rows, d_state);
        let plan = Self::new(client, d_state, 4, 16, vectors, config);
        match plan.of_runs(client, few) {
            Some(plan) => plan,
            None if few => Self::new(client, d_state, 2, 16, vectors, config),
            None => plan,
        }
    }

    /// For the backward kernels, which keep the states of a window.
    pub(crate) fn backward(client: &Client, rows: usize, d_state: usize, vectors: Vectors, config: ScanConfig) -> Self {
        let least_states = if wants_more_units(client, 2, rows, d_state) { 2 } else { 4 };
        let tile = if is_software(client) { 8 } else { 16 };
        Self::new(client, d_state, least_states, tile, vectors, config)
    }

    fn new(
        client: &Client,
        d_state: usize,
        least_states: usize,
        tile: usize,
        vectors: Vectors,
        config: ScanConfig,
    ) -> Self {
        const CHANNELS: usize = 32;
        let hardware = &client.properties().hardware;
        // In f32; a few cubes share a processor.
        let memory = hardware.max_shared_memory_size.min(36 << 10) / 4;
        let units = (hardware.max_units_per_cube as usize).min(256);
        let most_parts = (units / CHANNELS).max(1);
        let states = d_state.div_ceil(most_parts).next_multiple_of(least_states);
        let split = d_state.div_ceil(states);
        let quad = if states.is_multiple_of(4) { 4 } else { 2 };
        // The compilers of software devices choke on unrolled code with barriers.
        let unroll = !is_software(client);
        // A unit brings in up to four tokens.
        let tile = tile.min(1 << (4 * split).ilog2());
        let wide = vectors.channels.min(2);
        let ScanConfig { chunk, delta_softplus, reverse, .. } = config;
        let mut plan = Self {
            d_state,
            chunk,
            delta_softplus,
            reverse,
            channels: CHANNELS,
            wide,
            split,
            states,
            tile,
            summed: tile.min(4),
            window: tile,
            held: 1,
            run: 1,
            fresh: false,
            quad,
            vector: vectors.states.min(quad),
            bf16: vectors.bf16,
            near: false,
            unroll,
            math: Math::of(client),
        };
        while plan.summed > 1 && plan.shared_memory() > memory {
            plan.summed /= 2;
        }
        while plan.tile > plan.summed && plan.shared_memory() > memory {
            plan.tile /= 2;
        }
        while plan.channels > plan.wide && plan.shared_memory() > memory {
            plan.channels /= 2;
        }
        plan.window = plan.tile.min(16 / plan.wide).max(plan.summed);
        plan
    }

    /// A cube of 64 units, or 32 where shared memory is short, for which tokens lie in runs.
    ///
    /// With `few` cubes, a unit has one channel, and reads tokens ahead: there is nobody else to hide its waiting.
    fn of_runs(self, client: &Client, few: bool) -> Option<Self> {
        // On an H200 32 are 8 % slower, and 128 are up to 15 % in bf16.
        const UNITS: [usize; 2] = [64, 32];
        if is_software(client) || !self.split.is_power_of_two() || !self.tile.is_multiple_of(self.split) {
            return None;
        }
        let wide = if few { 1 } else { self.wide };
        let run = (4 / wide).min(self.tile / self.split);
        let held = if few { self.tile } else { (2 * run).min(self.tile) };
        let of = |units| Self { channels: units / self.split * wide, wide, run, held, ..self };
        let memory = client.properties().hardware.max_shared_memory_size / 4;
        UNITS.into_iter().map(of).find(|plan| plan.shared_memory_forward() <= memory)
    }

    /// Whether an exponential that is used once, and not multiplied along a sequence, may be as coarse as bf16 allow.
    pub(crate) fn coarse(&self) -> bool {
        self.bf16 && self.math == Math::Ptx
    }

    /// Units side by side, on neighbouring channels.
    pub(crate) fn lanes(&self) -> usize {
        self.channels / self.wide
    }

    pub(crate) fn units(&self) -> usize {
        self.lanes() * self.split
    }

    /// States of a channel in shared memory, those without a number included.
    pub(crate) fn padded_states(&self) -> usize {
        self.split * self.states
    }

    /// Tokens of a tile that a unit brings in, for its channel.
    pub(crate) fn tokens_of_unit(&self) -> usize {
        self.tile.div_ceil(self.split)
    }

    /// Runs of tokens of a tile.
    pub(crate) fn runs(&self) -> usize {
        self.tile / self.run
    }

    /// Those that a unit brings in.
    pub(crate) fn runs_of_unit(&self) -> usize {
        self.runs().div_ceil(self.split)
    }

    /// Quads of states of b and c of a token.
    pub(crate) fn quads(&self) -> usize {
        self.padded_states() / self.quad
    }

    /// Those of a tile that a unit brings in.
    pub(crate) fn quads_of_unit(&self) -> usize {
        (self.tile * self.quads()).div_ceil(self.units())
    }

    /// Tiles between two saved states.
    pub(crate) fn tiles_of_chunk(&self) -> usize {
        self.chunk.div_ceil(self.tile)
    }

    /// Windows of a tile.
    pub(crate) fn windows(&self) -> usize {
        self.tile / self.window
    }

    /// Sums over channels that a step of the backward kernel takes: of b and c, for every state of some tokens.
    pub(crate) fn sums(&self) -> usize {
        2 * self.summed * self.padded_states()
    }

    /// Of these, those that a unit takes.
    pub(crate) fn sums_of_unit(&self) -> usize {
        self.sums().div_ceil(self.units())
    }

    /// Of the forward kernels with runs, in f32.
    fn shared_memory_forward(&self) -> usize {
        let runs = 2 * self.lanes() + self.units();
        self.tile * self.wide * runs + self.tile * (1 + 2 * self.padded_states())
    }

    /// Of the backward kernel, which needs more than the forward kernels without runs, in f32.
    fn shared_memory(&self) -> usize {
        let tile = self.tile * (3 * self.channels + 1 + 2 * self.padded_states());
        tile + 3 * self.summed * self.channels * self.split + self.sums() * (self.lanes() + 1)
    }
}

/// Whether whole sequences of `rows` channels, with four states a unit, are fewer than `times` the units that keep the
/// device busy.
///
/// More states for a unit are less work in all, fewer are more units to hide latencies; with spans there are enough of
/// these.
fn wants_more_units(client: &Client, times: usize, rows: usize, d_state: usize) -> bool {
    let hardware = &client.properties().hardware;
    let units = rows * d_state.div_ceil(4);
    units < times * wanted_units(hardware) && !Spans::are_needed(hardware, units)
}

/// In how many turns orders that add up are scanned. One after the other they need the room of one; side by side they
/// keep the device busy. `rows` are the channels of all batch rows and orders.
pub(crate) fn rounds(client: &Client, rows: usize, d_state: usize, n_orders: usize) -> usize {
    let hardware = &client.properties().hardware;
    let units = rows * d_state.div_ceil(4);
    // Spans keep it busy then.
    if Spans::are_needed(hardware, units / n_orders) {
        return n_orders;
    }
    let busy = |rounds: &usize| 2 * units / rounds >= wanted_units(hardware);
    (1..=n_orders).rev().filter(|&rounds| n_orders.is_multiple_of(rounds)).find(busy).unwrap_or(1)
}

/// Units that keep the device busy.
fn wanted_units(hardware: &HardwareProperties) -> usize {
    // Vulkan and its kin do not tell. With too few a large device idles, with too many a small one scans some spans more.
    const PROCESSORS: u32 = 128;
    const UNITS: usize = 512;
    hardware.num_streaming_multiprocessors.unwrap_or(PROCESSORS) as usize * UNITS
}

/// Parts of the sequences that are scanned side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    pub count: usize,
    /// Tokens, whole chunks.
    pub length: usize,
}

impl Spans {
    /// Whether `units`, those of whole sequences, leave most of the device idle.
    fn are_needed(hardware: &HardwareProperties, units: usize) -> bool {
        4 * units <= wanted_units(hardware)
    }

    /// One span if that keeps the device busy; a second costs another pass over all.
    pub(crate) fn new(hardware: &HardwareProperties, units: usize, length: usize, chunk: usize) -> Self {
        const SHORTEST: usize = 128;
        let wanted = wanted_units(hardware);
        // Four times as many, or processors that are done first wait for the last.
        let count = if Self::are_needed(hardware, units) { (4 * wanted).div_ceil(units) } else { 1 };
        let length_of_span = length.div_ceil(count).max(SHORTEST).next_multiple_of(chunk);
        Self { count: length.div_ceil(length_of_span), length: length_of_span }
    }
}
