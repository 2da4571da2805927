//! A request queue of the controller, sorted by bank.
//!
//! In: requests in order of arrival. Out: for each bank the oldest request that hits the open row and the oldest that
//! does not. Always holds: inside a bank, requests stand in order of arrival; `hit` and `miss` agree with the row that
//! the queue was told is open. So a scheduler looks at two requests per bank instead of at the whole queue.

use super::device::MAX_BANKS;

/// No node.
pub(crate) const NONE: u16 = u16::MAX;

/// One burst waiting in a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) arrive: u64,
    /// Order of entry into the controller.
    pub(crate) order: u64,
    /// Local index: identifies the burst inside the channel.
    pub(crate) local: u64,
    pub(crate) id: u32,
    pub(crate) row: u32,
    pub(crate) bank: u8,
    pub(crate) write: bool,
    /// Row hit, miss or conflict has been counted.
    pub(crate) counted: bool,
}

#[derive(Clone, Copy)]
struct Node {
    entry: Entry,
    next: u16,
    previous: u16,
}

#[derive(Clone, Copy)]
struct List {
    head: u16,
    tail: u16,
    hit: u16,
    miss: u16,
    /// Orders of the three, so that a scheduler need not look at the nodes.
    head_order: u64,
    hit_order: u64,
    miss_order: u64,
}

const EMPTY: List = List { head: NONE, tail: NONE, hit: NONE, miss: NONE, head_order: 0, hit_order: 0, miss_order: 0 };

/// See the module documentation.
pub(crate) struct Queue {
    nodes: Vec<Node>,
    free: Vec<u16>,
    lists: [List; MAX_BANKS],
    /// One bit for each bank that has requests …
    occupied: u64,
    /// … that hit the open row …
    hits: u64,
    /// … that may close the open row.
    misses: u64,
    /// A miss may not close a row that an older or equally old request hits.
    protects_hits: bool,
    capacity: usize,
    /// How many queued bursts have each value of the low address bits: most look-ups end here.
    sieve: [u16; 64],
}

impl Queue {
    pub(crate) fn new(capacity: u32, protects_hits: bool) -> Queue {
        Queue {
            nodes: Vec::with_capacity(capacity as usize),
            free: Vec::with_capacity(capacity as usize),
            lists: [EMPTY; MAX_BANKS],
            occupied: 0,
            hits: 0,
            misses: 0,
            protects_hits,
            capacity: capacity as usize,
            sieve: [0; 64],
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    #[inline]
    pub(crate) fn occupied(&self) -> u64 {
        self.occupied
    }

    /// Banks with a request that hits the open row.
    #[inline]
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }

    /// Banks with a request that wants another row than the open one and may close it.
    #[inline]
    pub(crate) fn misses(&self) -> u64 {
        self.misses
    }

    /// The oldest request of a bank, and its order.
    #[inline]
    pub(crate) fn head(&self, bank: usize) -> (u16, u64) {
        (self.lists[bank].head, self.lists[bank].head_order)
    }

    /// The oldest request of a bank that wants the open row, and its order.
    #[inline]
    pub(crate) fn hit(&self, bank: usize) -> (u16, u64) {
        (self.lists[bank].hit, self.lists[bank].hit_order)
    }

    /// The oldest request of a bank that wants another row than the open one, and its order.
    #[inline]
    pub(crate) fn miss(&self, bank: usize) -> (u16, u64) {
        (self.lists[bank].miss, self.lists[bank].miss_order)
    }

    #[inline]
    pub(crate) fn entry(&self, node: u16) -> &Entry {
        &self.nodes[usize::from(node)].entry
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, node: u16) -> &mut Entry {
        &mut self.nodes[usize::from(node)].entry
    }

    /// How many requests a bank has.
    pub(crate) fn count(&self, bank: usize) -> usize {
        let (mut node, mut count) = (self.lists[bank].head, 0);
        while node != NONE {
            (node, count) = (self.nodes[usize::from(node)].next, count + 1);
        }
        count
    }

    /// True when a burst with this local index is queued.
    pub(crate) fn contains(&self, bank: usize, local: u64) -> bool {
        if self.sieve[(local & 63) as usize] == 0 {
            return false;
        }
        let mut node = self.lists[bank].head;
        while node != NONE {
            let n = &self.nodes[usize::from(node)];
            if n.entry.local == local {
                return true;
            }
            node = n.next;
        }
        false
    }

    /// Appends a request; `open` is the state of its bank.
    pub(crate) fn push(&mut self, entry: Entry, open: i64) {
        let bank = usize::from(entry.bank);
        self.sieve[(entry.local & 63) as usize] += 1;
        let list = &mut self.lists[bank];
        let node = Node { entry, next: NONE, previous: list.tail };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[usize::from(at)] = node;
                at
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u16
            }
        };
        match list.tail {
            NONE => (list.head, list.head_order) = (at, entry.order),
            tail => self.nodes[usize::from(tail)].next = at,
        }
        list.tail = at;
        self.occupied |= 1 << bank;
        if open == i64::from(entry.row) {
            if list.hit == NONE {
                (list.hit, list.hit_order) = (at, entry.order);
                self.mark(bank);
            }
        } else if open >= 0 && list.miss == NONE {
            (list.miss, list.miss_order) = (at, entry.order);
            self.mark(bank);
        }
    }

    /// Takes a request out; `open` is the state of its bank.
    pub(crate) fn remove(&mut self, at: u16, open: i64) -> Entry {
        let Node { entry, next, previous } = self.nodes[usize::from(at)];
        let bank = usize::from(entry.bank);
        self.sieve[(entry.local & 63) as usize] -= 1;
        match previous {
            NONE => self.lists[bank].head = next,
            p => self.nodes[usize::from(p)].next = next,
        }
        match next {
            NONE => self.lists[bank].tail = previous,
            n => self.nodes[usize::from(n)].previous = previous,
        }
        let head = self.lists[bank].head;
        if head == NONE {
            self.occupied &= !(1 << bank);
        } else {
            self.lists[bank].head_order = self.order(head);
        }
        if self.lists[bank].hit == at {
            self.set_hit(bank, self.find(next, |row| i64::from(row) == open));
            self.mark(bank);
        }
        if self.lists[bank].miss == at {
            self.set_miss(bank, self.find(next, |row| i64::from(row) != open));
            self.mark(bank);
        }
        self.free.push(at);
        entry
    }

    /// The bank has opened a row.
    pub(crate) fn opened(&mut self, bank: usize, row: u32) {
        let head = self.lists[bank].head;
        if head != NONE {
            self.set_hit(bank, self.find(head, |r| r == row));
            self.set_miss(bank, self.find(head, |r| r != row));
            self.mark(bank);
        }
    }

    /// The bank has closed.
    pub(crate) fn closed(&mut self, bank: usize) {
        self.lists[bank].hit = NONE;
        self.lists[bank].miss = NONE;
        self.hits &= !(1 << bank);
        self.misses &= !(1 << bank);
    }

    fn set_hit(&mut self, bank: usize, node: u16) {
        self.lists[bank].hit = node;
        if node != NONE {
            self.lists[bank].hit_order = self.order(node);
        }
    }

    fn set_miss(&mut self, bank: usize, node: u16) {
        self.lists[bank].miss = node;
        if node != NONE {
            self.lists[bank].miss_order = self.order(node);
        }
    }

    fn order(&self, node: u16) -> u64 {
        self.nodes[usize::from(node)].entry.order
    }

    /// Brings the bits of a bank up to date with its `hit` and `miss`.
    fn mark(&mut self, bank: usize) {
        let List { hit, miss, .. } = self.lists[bank];
        let bit = 1 << bank;
        self.hits = if hit == NONE { self.hits & !bit } else { self.hits | bit };
        let protected =
            self.protects_hits && hit != NONE && miss != NONE && { self.entry(hit).arrive <= self.entry(miss).arrive };
        self.misses = if miss == NONE || protected { self.misses & !bit } else { self.misses | bit };
    }

    fn find(&self, from: u16, wanted: impl Fn(u32) -> bool) -> u16 {
        let mut node = from;
        while node != NONE {
            let n = &self.nodes[usize::from(node)];
            if wanted(n.entry.row) {
                break;
            }
            node = n.next;
        }
        node
    }
}
