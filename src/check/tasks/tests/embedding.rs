use super::*;

const SAMPLES: usize = 40;
const WIDTH: usize = 64;

fn vectors() -> Tensor {
    floats("y", &[SAMPLES, WIDTH], (0..SAMPLES * WIDTH).map(noise).collect())
}

fn judged(actual: &Tensor) -> OutputFinding {
    found(OutputTask::Embedding, &[vectors()], std::slice::from_ref(actual), SAMPLES).unwrap()
}

/// Every vector turned by `degrees`, in the planes of each two neighbouring numbers.
fn turned(degrees: f32) -> Tensor {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    altered(&vectors(), |values| {
        for pair in values.as_chunks_mut::<2>().0 {
            let [x, y] = *pair;
            *pair = [x * cosine - y * sine, x * sine + y * cosine];
        }
    })
}

#[test]
fn directions_are_held_and_what_turned_is_named() {
    strange_outputs_never_pass(&OutputTask::Embedding, &vectors());
    let rounded =
        altered(&vectors(), |values| values.iter_mut().for_each(|value| *value = half::f16::from_f32(*value).to_f32()));
    let sound = judged(&rounded);
    passes(&sound);
    assert!(sound.detail.contains("40 of 40 keep their nearest neighbour"), "{}", sound.detail);
    fails(&judged(&turned(2.0)), "all 40 vectors are turned by 2° together, their angles among themselves kept");
    let one = altered(&vectors(), |values| values[3 * WIDTH] += 3.0);
    fails(&judged(&one), "1 of 40 vectors have another direction: that of sample 3 is turned by ");
    let swapped = altered(&vectors(), |values| (0..WIDTH).for_each(|at| values.swap(2 * WIDTH + at, 9 * WIDTH + at)));
    fails(&judged(&swapped), "the vector of sample 2 is that of sample 9");
    let negated = altered(&vectors(), |values| values.iter_mut().for_each(|value| *value = -*value));
    fails(&judged(&negated), "turned by 180°");
    let gone = altered(&vectors(), |values| values[..WIDTH].fill(0.0));
    fails(&judged(&gone), "that of sample 0 is turned by");
}

#[test]
fn lengths_are_held_too() {
    let longer = altered(&vectors(), |values| values.iter_mut().for_each(|value| *value *= 1.1));
    fails(&judged(&longer), "every vector is 1.1000 times as long");
    let one = altered(&vectors(), |values| values[5 * WIDTH..6 * WIDTH].iter_mut().for_each(|value| *value *= 0.5));
    fails(&judged(&one), "the vector of sample 5 is 0.5000 times as long");
}

/// Two samples whose nearest neighbours are as near as each other may change them.
#[test]
fn a_neighbour_near_a_tie_is_borderline() {
    let wide = |shift: f32| {
        altered(&vectors(), |values| {
            for at in 0..WIDTH {
                let (one, other) = (values[at], values[2 * WIDTH + at]);
                values[WIDTH + at] = one + other * (1.0 + shift) * 1.0;
            }
        })
    };
    let (reference, actual) = (wide(0.004), wide(-0.004));
    let found = found(OutputTask::Embedding, &[reference], &[actual], SAMPLES).unwrap();
    passes(&found);
    assert_eq!(found.confident, 0);
}

#[test]
fn a_vector_of_one_number_has_no_direction() {
    let numbers = floats("y", &[4, 1], vec![0.1, 0.2, 0.3, 0.4]);
    nothing_judged(
        found(OutputTask::Embedding, std::slice::from_ref(&numbers), std::slice::from_ref(&numbers), 4),
        "has no direction",
    );
}

#[test]
fn vectors_of_a_sequence_are_told_by_their_place() {
    let reference = floats("y", &[8, 5, WIDTH], (0..8 * 5 * WIDTH).map(noise).collect());
    let actual = altered(&reference, |values| values[(3 * 5 + 2) * WIDTH] += 4.0);
    fails(
        &found(OutputTask::Embedding, &[reference], &[actual], 8).unwrap(),
        "that of sample 3, vector 2 is turned by",
    );
}

/// A neighbour that is nearer by less than both cosines may move is no sure one.
#[test]
fn a_neighbour_is_sure_by_twice_what_a_cosine_may_move() {
    // Sample 0 stands upright; 1 and 2 lean towards it by these cosines, in planes of their own.
    let leaning = |one: f32, other: f32| {
        let side = |cosine: f32| (1.0 - cosine * cosine).sqrt();
        floats("y", &[3, 3], vec![1.0, 0.0, 0.0, one, side(one), 0.0, other, 0.0, side(other)])
    };
    let judged = |margin: f32| {
        let moved = 0.55 * margin;
        let (before, after) = (leaning(0.5 + margin, 0.5), leaning(0.5 + margin - moved, 0.5 + moved));
        found(OutputTask::Embedding, &[before], &[after], 3).unwrap()
    };
    // A cosine may move by 0.01.
    let borderline = judged(0.015);
    passes(&borderline);
    assert_eq!((borderline.confident, borderline.borderline), (0, 1));
    let sure = judged(0.025);
    assert_eq!(sure.confident, 1, "{}", sure.detail);
}
