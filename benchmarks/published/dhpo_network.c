/* DHPO's network for MNIST, trained by stochastic gradient descent with momentum, one image after the other.

   conv 5x5 (1 -> 2), max-pool 2, ReLU, conv 5x5 (2 -> 4), max-pool 2, ReLU, dropout, linear (64 -> 10), softmax.
   PyTorch spends most of its time on calls for so small a network; this does the same arithmetic ten times faster.
   The parameters lie in one array, in the order of PyTorch's parameters(): see dhpo_network.py. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float Eight __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
typedef float Unaligned __attribute__((vector_size(32), aligned(4), may_alias));

typedef struct {
    float w1[2][5][5], b1[2], w2[4][2][5][5], b2[4], w3[10][64], b3[10];
} Network;

typedef struct {
    float x[28][32];         /* rows are longer than the image, so that eight numbers can be read from any column */
    float first[2][12][16];  /* after pooling and ReLU, and where each maximum was */
    int32_t first_row[2][12][16], first_column[2][12][16];
    float second[64];
    int32_t second_row[64], second_column[64];
    float kept[64];          /* what dropout multiplies with */
    float probability[10];
} __attribute__((aligned(32))) Pass;

int network_floats(void) { return sizeof(Network) / sizeof(float); }

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static Ints choose(Ints mask, Ints yes, Ints no) { return (mask & yes) | (~mask & no); }

/* Pools sixteen columns of two rows and applies ReLU. Without branches, which would be predicted badly. */
static inline void pool(const float *above, const float *below, int row, int column, Eight *out, Ints *out_row,
                        Ints *out_column) {
    const Ints even = {0, 2, 4, 6, 8, 10, 12, 14}, odd = even + 1;
    Ints lower[2];
    Eight high[2];
    for (int k = 0; k < 2; k++) {
        const Eight a = ((const Unaligned *)above)[k], b = ((const Unaligned *)below)[k];
        lower[k] = b > a;
        high[k] = (Eight)choose(lower[k], (Ints)b, (Ints)a);
    }
    const Eight left = __builtin_shuffle(high[0], high[1], even), right = __builtin_shuffle(high[0], high[1], odd);
    const Ints other = right > left;
    const Eight best = (Eight)choose(other, (Ints)right, (Ints)left);
    *out = (Eight)choose(best < 0, (Ints){0}, (Ints)best); /* keeps a NaN */
    *out_row = row - 1 - choose(other, __builtin_shuffle(lower[0], lower[1], odd),
                                __builtin_shuffle(lower[0], lower[1], even));
    *out_column = column + even - other;
}

/* Both channels at once, so that each row is loaded once; the sums stay in registers. */
static void first_layer(const Network *net, Pass *pass) {
    float rows[2][2][32] = {0};
    for (int r = 0; r < 24; r++) {
        Eight a0 = net->b1[0] - (Eight){0}, b0 = net->b1[1] - (Eight){0}, a1 = a0, a2 = a0, b1 = b0, b2 = b0;
        for (int ky = 0; ky < 5; ky++)
            for (int kx = 0; kx < 5; kx++) {
                const Unaligned *x = (const Unaligned *)&pass->x[r + ky][kx];
                const float a = net->w1[0][ky][kx], b = net->w1[1][ky][kx];
                a0 += a * x[0], a1 += a * x[1], a2 += a * x[2];
                b0 += b * x[0], b1 += b * x[1], b2 += b * x[2];
            }
        Unaligned *to = (Unaligned *)rows[0][r & 1];
        to[0] = a0, to[1] = a1, to[2] = a2;
        to = (Unaligned *)rows[1][r & 1];
        to[0] = b0, to[1] = b1, to[2] = b2;
        if (r & 1)
            for (int c = 0; c < 2; c++)
                for (int k = 0; k < 2; k++)
                    pool(rows[c][0] + 16 * k, rows[c][1] + 16 * k, r, 16 * k, (Eight *)pass->first[c][r >> 1] + k,
                         (Ints *)pass->first_row[c][r >> 1] + k, (Ints *)pass->first_column[c][r >> 1] + k);
    }
}

static void second_layer(const Network *net, Pass *pass) {
    float rows[2][2][16]; /* two channels beside each other */
    for (int r = 0; r < 8; r++) {
        Eight s0 = net->b2[0] - (Eight){0}, s1 = net->b2[1] - (Eight){0}, s2 = net->b2[2] - (Eight){0},
              s3 = net->b2[3] - (Eight){0};
        for (int c = 0; c < 2; c++)
            for (int ky = 0; ky < 5; ky++)
                for (int kx = 0; kx < 5; kx++) {
                    const Eight x = *(const Unaligned *)&pass->first[c][r + ky][kx];
                    s0 += net->w2[0][c][ky][kx] * x, s1 += net->w2[1][c][ky][kx] * x;
                    s2 += net->w2[2][c][ky][kx] * x, s3 += net->w2[3][c][ky][kx] * x;
                }
        Unaligned *to = (Unaligned *)rows[0][r & 1];
        to[0] = s0, to[1] = s1;
        to = (Unaligned *)rows[1][r & 1];
        to[0] = s2, to[1] = s3;
        if (r & 1)
            for (int pair = 0; pair < 2; pair++) {
                Eight out;
                Ints row, column;
                pool(rows[pair][0], rows[pair][1], r, 0, &out, &row, &column);
                column &= 7; /* the second channel begins at column 8 */
                for (int half = 0; half < 2; half++) {
                    const int place = (2 * pair + half) * 16 + (r >> 1) * 4;
                    memcpy(pass->second + place, (float *)&out + 4 * half, 4 * sizeof(float));
                    memcpy(pass->second_row + place, (int32_t *)&row + 4 * half, 4 * sizeof(int32_t));
                    memcpy(pass->second_column + place, (int32_t *)&column + 4 * half, 4 * sizeof(int32_t));
                }
            }
    }
}

static void forward(const Network *net, Pass *pass, const unsigned char *image) {
    for (int r = 0; r < 28; r++)
        for (int j = 0; j < 28; j++) pass->x[r][j] = image[28 * r + j] * (1 / (255 * 0.3081f)) - 0.1307f / 0.3081f;
    first_layer(net, pass);
    second_layer(net, pass);
}

/* The class with the largest output; fills in the probabilities. */
static int classify(const Network *net, Pass *pass, const float *features) {
    int best = 0;
    float largest, total = 0;
    for (int o = 0; o < 10; o++) {
        float sum = net->b3[o];
        for (int i = 0; i < 64; i++) sum += net->w3[o][i] * features[i];
        pass->probability[o] = sum;
        if (sum > pass->probability[best]) best = o;
    }
    largest = pass->probability[best];
    for (int o = 0; o < 10; o++) total += pass->probability[o] = expf(pass->probability[o] - largest);
    for (int o = 0; o < 10; o++) pass->probability[o] /= total;
    return best;
}

/* The kernels with rows of eight: what is added to a row of eight leaves the other three as they are. */
typedef struct {
    Eight w1[2][5], w2[4][2][5];
} Kernels;

static void backward(const Network *net, const Kernels *kernels, Pass *pass, const float *features, int label,
                     float share, Network *gradient, Kernels *sums) {
    float down[64] = {0}, first[2][12][16];
    memset(first, 0, sizeof first);
    for (int o = 0; o < 10; o++) {
        const float g = (pass->probability[o] - (o == label)) * share;
        gradient->b3[o] += g;
        for (int i = 0; i < 64; i++) gradient->w3[o][i] += g * features[i], down[i] += g * net->w3[o][i];
    }
    for (int i = 0; i < 64; i++) {
        if (pass->second[i] == 0 || pass->kept[i] == 0) continue;
        const float g = down[i] * pass->kept[i];
        const int o = i >> 4, r = pass->second_row[i], j = pass->second_column[i];
        gradient->b2[o] += g;
        for (int c = 0; c < 2; c++)
            for (int ky = 0; ky < 5; ky++) {
                sums->w2[o][c][ky] += g * *(const Unaligned *)&pass->first[c][r + ky][j];
                *(Unaligned *)&first[c][r + ky][j] += g * kernels->w2[o][c][ky];
            }
    }
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < 12; i++)
            for (int k = 0; k < 12; k++) {
                const float g = first[c][i][k];
                if (pass->first[c][i][k] == 0 || g == 0) continue;
                const int r = pass->first_row[c][i][k], j = pass->first_column[c][i][k];
                gradient->b1[c] += g;
                for (int ky = 0; ky < 5; ky++) sums->w1[c][ky] += g * *(const Unaligned *)&pass->x[r + ky][j];
            }
}

/* Copies the kernels of a network into rows of eight, or rows of eight back into a network. */
static void copy_kernels(Network *net, Kernels *kernels, int back) {
    for (int k = 0; k < 50; k++) {
        float *narrow = k < 10 ? (float *)net->w1 + 5 * k : (float *)net->w2 + 5 * (k - 10);
        float *wide = (float *)kernels + 8 * k;
        memcpy(back ? narrow : wide, back ? wide : narrow, 5 * sizeof(float));
    }
}

/* Trains on the rows order[0..count-1] in batches. `net` and `velocity` are changed in place.
   Returns how many rows had any feature above zero: none, and only the last layer's biases still learn. */
int train(const unsigned char *images, const unsigned char *labels, const int32_t *order, int count, int batch,
           Network *net, Network *velocity, float rate, float momentum, float dropout, uint64_t seed) {
    static Pass pass;
    static Network gradient;
    static Kernels kernels, sums; /* the three numbers at the end of each row of kernels stay 0 */
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
    const int size = network_floats();
    int alive = 0;
    for (int begin = 0; begin < count; begin += batch) {
        const int rows = count - begin < batch ? count - begin : batch;
        memset(&gradient, 0, sizeof gradient);
        memset(&sums, 0, sizeof sums);
        copy_kernels(net, &kernels, 0);
        for (int k = begin; k < begin + rows; k++) {
            float features[64], largest = 0;
            forward(net, &pass, images + 784 * (int64_t)order[k]);
            for (int i = 0; i < 64; i++) {
                const float drawn = (next_random(&state) >> 40) * (1.0f / 16777216.0f);
                pass.kept[i] = drawn < dropout ? 0 : 1 / (1 - dropout);
                features[i] = pass.second[i] * pass.kept[i];
                largest = pass.second[i] > largest ? pass.second[i] : largest;
            }
            alive += largest > 0;
            classify(net, &pass, features);
            backward(net, &kernels, &pass, features, labels[order[k]], 1.0f / rows, &gradient, &sums);
        }
        copy_kernels(&gradient, &sums, 1);
        float *p = (float *)net, *v = (float *)velocity;
        const float *g = (const float *)&gradient;
        for (int i = 0; i < size; i++) v[i] = momentum * v[i] + g[i], p[i] -= rate * v[i];
    }
    return alive;
}

/* How many of the rows order[0..count-1] are classified correctly, without dropout. */
int correct(const unsigned char *images, const unsigned char *labels, const int32_t *order, int count,
            const Network *net) {
    static Pass pass;
    int found = 0;
    for (int k = 0; k < count; k++) {
        forward(net, &pass, images + 784 * (int64_t)order[k]);
        found += classify(net, &pass, pass.second) == labels[order[k]];
    }
    return found;
}
