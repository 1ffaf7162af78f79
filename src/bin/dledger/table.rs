//! Tables of text.

/// The most columns there are; what a row ends with is not aligned.
const COLUMNS: usize = 11;

/// Aligned lines. The last cell of a row takes the space it needs.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let cell = |(column, text): (usize, &String)| match widths.get(column) {
        Some(width) => format!("{text:width$}"),
        None => text.clone(),
    };
    let line = |row: &Vec<String>| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
    rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_cut_short_does_not_widen_the_others() {
        let rows = ["a b c", "aaa long-last", "x y z"];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.split(' ').map(String::from).collect()).collect();
        assert_eq!(table(&rows), ["a    b  c", "aaa  long-last", "x    y  z"]);
    }
}
