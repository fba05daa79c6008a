//! How much of the memory that this process may have is taken, as Linux says it.
//!
//! Asked once in a round. Where nothing says it, there is no answer, and nobody acts by it.

use std::path::Path;

/// In thousandths: of its control group's limit where there is one, else of the machine's memory. What the
/// kernel gives back when it is needed (cached files) does not count.
pub(super) fn taken() -> Option<u16> {
    of_group().or_else(|| of_machine(&read("/proc/meminfo")?))
}

fn of_group() -> Option<u16> {
    let groups = read("/proc/self/cgroup")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let group = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    let file = |name: &str| read(group.join(name));
    let limit = file("memory.max")?.trim().parse().ok()?;
    let current: u64 = file("memory.current")?.trim().parse().ok()?;
    let cached = number(&file("memory.stat")?, "inactive_file")?;
    thousandths(current.saturating_sub(cached), limit)
}

fn of_machine(meminfo: &str) -> Option<u16> {
    let all = number(meminfo, "MemTotal:")?;
    let available = number(meminfo, "MemAvailable:")?;
    thousandths(all.saturating_sub(available), all)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number after `name` at a line's beginning.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn thousandths(part: u64, whole: u64) -> Option<u16> {
    let thousandths = u128::from(part) * 1000 / u128::from(Some(whole).filter(|it| *it > 0)?);
    u16::try_from(thousandths).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let meminfo = "MemTotal:        1000 kB\nMemFree:  5 kB\nMemAvailable:     250 kB\n";
        assert_eq!(of_machine(meminfo), Some(750));
        assert_eq!(of_machine("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(of_machine("something else"), None);
        assert_eq!(
            number("file 1\ninactive_file 77\n", "inactive_file"),
            Some(77)
        );
        assert_eq!(thousandths(u64::MAX, 1), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_says_it() {
        let taken = taken().expect("Linux says it");
        assert!((1..=1000).contains(&taken), "{taken}");
    }
}
