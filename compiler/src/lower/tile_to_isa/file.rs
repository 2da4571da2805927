//! A register file as a cache of known values: which register holds what, and which one is given up next.
//!
//! In: keys (what a register is to hold). Out: register numbers. A locked register is in use by the instruction that is
//! being put together and is never given up; a pinned one holds a loop's index or bound for the whole loop. The choice
//! is deterministic: the least recently used register, the lowest number first.

/// A register file that remembers what it holds.
#[derive(Clone, Debug)]
pub struct File<K> {
    slots: Vec<Slot<K>>,
    clock: u64,
}

#[derive(Clone, Debug)]
struct Slot<K> {
    key: Option<K>,
    used: u64,
    locks: u32,
    pinned: bool,
}

impl<K: Clone + PartialEq> File<K> {
    /// A file of `count` registers that hold nothing.
    pub fn new(count: usize) -> File<K> {
        let slot = Slot { key: None, used: 0, locks: 0, pinned: false };
        File { slots: vec![slot; count], clock: 0 }
    }

    /// The register that holds `key`, marked as just used.
    pub fn find(&mut self, key: &K) -> Option<usize> {
        let index = self.slots.iter().position(|slot| slot.key.as_ref() == Some(key))?;
        self.touch(index);
        Some(index)
    }

    /// A register for `key`; what it held before is forgotten. `None` if all are locked or pinned.
    pub fn claim(&mut self, key: K) -> Option<usize> {
        let index = self.victim()?;
        self.slots[index].key = Some(key);
        self.touch(index);
        Some(index)
    }

    /// A register that holds nothing anybody will ask for. `None` if all are locked or pinned.
    pub fn claim_temporary(&mut self) -> Option<usize> {
        let index = self.victim()?;
        self.slots[index].key = None;
        self.touch(index);
        Some(index)
    }

    fn victim(&self) -> Option<usize> {
        let free = |slot: &&(usize, &Slot<K>)| slot.1.locks == 0 && !slot.1.pinned;
        let slots: Vec<(usize, &Slot<K>)> = self.slots.iter().enumerate().collect();
        slots.iter().filter(free).min_by_key(|(index, slot)| (slot.key.is_some(), slot.used, *index)).map(|(i, _)| *i)
    }

    fn touch(&mut self, index: usize) {
        self.clock += 1;
        self.slots[index].used = self.clock;
    }

    /// Says what a register holds from now on.
    pub fn set(&mut self, index: usize, key: Option<K>) {
        self.slots[index].key = key;
    }

    /// Keeps a register until it is unlocked as often as it was locked.
    pub fn lock(&mut self, index: usize) {
        self.slots[index].locks += 1;
    }

    /// Takes one lock back.
    pub fn unlock(&mut self, index: usize) {
        let locks = &mut self.slots[index].locks;
        *locks = locks.checked_sub(1).expect("a register is unlocked as often as it was locked");
    }

    /// Keeps a register until it is released.
    pub fn pin(&mut self, index: usize) {
        self.slots[index].pinned = true;
    }

    /// Gives a pinned register back.
    pub fn unpin(&mut self, index: usize) {
        self.slots[index].pinned = false;
    }

    /// Forgets every value for which `keep` does not hold. Pinned registers stay.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &K) -> bool) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if !slot.pinned && slot.key.as_ref().is_some_and(|key| !keep(index, key)) {
                slot.key = None;
            }
        }
    }

    /// What each register holds.
    pub fn contents(&self) -> Vec<Option<K>> {
        self.slots.iter().map(|slot| slot.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_register_is_given_up() {
        let mut file = File::new(2);
        assert_eq!(file.claim("a"), Some(0));
        assert_eq!(file.claim("b"), Some(1));
        assert_eq!(file.find(&"a"), Some(0));
        assert_eq!(file.claim("c"), Some(1));
        assert_eq!(file.find(&"b"), None);
        file.lock(0);
        file.pin(1);
        assert_eq!(file.claim("d"), None);
        file.unlock(0);
        assert_eq!(file.claim("d"), Some(0));
    }
}
